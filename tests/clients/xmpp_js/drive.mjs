// Two people with xmpp.js, the client library for JavaScript, over WebSocket: they log in, write to each other, become
// contacts, and one of them loses the connection. Prints one line `ok NAME` or `not ok NAME: why` for each check.
// usage: node drive.mjs TITLE URL DOMAIN PASSWORD NAME NAME     (its packages lie in node_modules above it)

import { client, xml } from "@xmpp/client";
import WebSocket from "ws";

// Newer Nodes have a WebSocket of their own, which cannot be broken on purpose.
globalThis.WebSocket = WebSocket;

const [title, service, domain, password, ...names] = process.argv.slice(2);
const PATIENCE = 15_000; // milliseconds
const PING = "urn:xmpp:ping";

// A promise for the next time that something happens to an emitter.
function once(emitter, event) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${event} within ${PATIENCE} ms`)), PATIENCE);
    emitter.once(event, (what) => {
      clearTimeout(late);
      resolve(what);
    });
  });
}

// Everything that comes is kept, so that nothing is missed between two waits.
class Person {
  constructor(name) {
    this.address = `${name}@${domain}`;
    this.seen = [];
    this.waiting = new Set();
    this.xmpp = client({ service, domain, username: name, password, resource: "xmppjs" });
    this.xmpp.reconnect.delay = 100;
    this.xmpp.on("error", (error) => console.error(name, String(error)));
    this.xmpp.on("stanza", (stanza) => {
      this.seen.push(stanza);
      for (const look of this.waiting) look();
    });
  }

  async logIn() {
    await this.xmpp.start();
    await this.xmpp.send(xml("presence"));
  }

  sees(fits) {
    return new Promise((resolve, reject) => {
      const done = (end, result) => {
        clearTimeout(late);
        this.waiting.delete(look);
        end(result);
      };
      const look = () => {
        const found = this.seen.find(fits);
        if (found) done(resolve, found);
      };
      const late = setTimeout(() => done(reject, new Error(`not seen; the last: ${this.seen.slice(-3).join(" ")}`)), PATIENCE);
      this.waiting.add(look);
      look();
    });
  }

  presence(other, type) {
    return this.xmpp.send(xml("presence", { to: other.address, type }));
  }

  says(other, text) {
    return this.xmpp.send(xml("message", { to: other.address, type: "chat" }, xml("body", {}, text)));
  }

  reads(other, text) {
    return this.sees((stanza) => isFrom(stanza, other) && stanza.getChildText("body") === text);
  }
}

const isFrom = (stanza, person) => stanza.attrs.from?.split("/")[0] === person.address;

async function check(name, work) {
  try {
    await work();
    console.log(`ok ${title}: ${name}`);
  } catch (error) {
    console.log(`not ok ${title}: ${name}: ${String(error.message).split("\n")[0]}`);
    process.exitCode = 1;
  }
}

const [one, other] = names.map((name) => new Person(name));

await check("two people log in over WebSocket", async () => {
  await one.logIn();
  await other.logIn();
});
await check("messages go both ways", async () => {
  for (const [writer, reader] of [[one, other], [other, one]]) {
    const text = `to ${reader.address} & <back>`;
    await writer.says(reader, text);
    await reader.reads(writer, text);
  }
});
await check("they become contacts and see each other", async () => {
  for (const [asker, asked] of [[one, other], [other, one]]) {
    await asker.presence(asked, "subscribe");
    await asked.sees((stanza) => isFrom(stanza, asker) && stanza.attrs.type === "subscribe");
    await asked.presence(asker, "subscribed");
    await asker.sees((stanza) => isFrom(stanza, asked) && stanza.is("presence") && !stanza.attrs.type);
  }
});
await check("the server answers a ping", async () => {
  const answer = await one.xmpp.iqCaller.request(xml("iq", { type: "get", to: domain }, xml("ping", PING)), PATIENCE);
  if (answer.attrs.type !== "result") throw new Error(String(answer));
});
await check("a connection that broke goes on over another WebSocket, and nothing is lost", async () => {
  const session = one.xmpp.streamManagement.id;
  if (!session) throw new Error("no stream management");
  const resumed = once(one.xmpp.streamManagement, "resumed");
  one.xmpp.socket.socket.terminate();
  await other.says(one, "did you hear that?");
  await resumed;
  if (one.xmpp.streamManagement.id !== session) throw new Error("another session");
  await one.reads(other, "did you hear that?");
  await one.says(other, "every word");
  await other.reads(one, "every word");
  const heard = one.seen.filter((stanza) => stanza.getChildText("body") === "did you hear that?").length;
  if (heard !== 1) throw new Error(`heard ${heard} times`);
});
await check("they leave, and are seen to", async () => {
  await one.xmpp.stop();
  await other.sees((stanza) => isFrom(stanza, one) && stanza.attrs.type === "unavailable");
  await other.xmpp.stop();
});
