// Send one message with nodemailer: node -e "$(cat with_nodemailer.js)" HOST PORT SENDER FILE RECIPIENT...
const [host, port, from, file, ...to] = process.argv.slice(1);
const transport = require("nodemailer").createTransport({lmtp: true, host, port: Number(port), name: "mta.example"});
transport.sendMail({envelope: {from, to}, raw: require("fs").readFileSync(file)})
  .catch(error => { process.exitCode = 1; })
  .finally(() => transport.close());
