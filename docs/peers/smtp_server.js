// nodemailer's smtp-server as a peer: three mailboxes, every message accepted.
const {SMTPServer} = require("smtp-server");
const mailboxes = new Set(["ant@lists.example", "bee@lists.example", "cat@lists.example"]);
new SMTPServer({
  lmtp: true,
  authOptional: true,
  disabledCommands: ["STARTTLS", "AUTH"],
  onRcptTo({address}, session, callback) {
    if (mailboxes.has(address.toLowerCase())) return callback();
    callback(Object.assign(new Error("No such mailbox"), {responseCode: 550}));
  },
  onData(stream, session, callback) {
    stream.resume();
    stream.on("end", () => callback(null, session.envelope.rcptTo.map(() => "Ok")));
  },
}).listen(Number(process.argv[1]), "127.0.0.1");
