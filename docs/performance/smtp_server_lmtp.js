// nodemailer's smtp-server in its LMTP mode as a server under test: node smtp_server_lmtp.js PORT.
// It keeps every message for every recipient in memory and answers once for each; it asks no list and checks nothing.
"use strict";

const { SMTPServer } = require("smtp-server");

const entries = [];

const server = new SMTPServer({
  lmtp: true,
  name: "lists.example",
  disabledCommands: ["AUTH", "STARTTLS"],
  disableReverseLookup: true,
  onData(stream, session, callback) {
    const pieces = [];
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("end", () => {
      const content = Buffer.concat(pieces);
      const { mailFrom, rcptTo } = session.envelope;
      for (const recipient of rcptTo) entries.push([mailFrom.address, recipient.address, content]);
      callback(null, rcptTo.map(() => "2.0.0 OK"));
    });
  },
});

server.on("error", () => {});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 1000 });
process.on("SIGTERM", () => {
  console.log(`kept ${entries.length}`);
  process.exit(0);
});
