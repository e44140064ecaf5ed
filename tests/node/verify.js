// Verifies webhooks as a receiver in JavaScript would. Standard input: `{"secret", "cases": [{"headers", "content"}]}`; printed: a
// list that says for each case whether it is genuine.
const { readFileSync } = require("node:fs");
const { Webhook } = require("standardwebhooks");

const { secret, cases } = JSON.parse(readFileSync(0, "utf8"));
const webhook = new Webhook(secret);

function isGenuine({ headers, content }) {
  try {
    webhook.verify(content, headers);
    return true;
  } catch (error) {
    // What was verified is parsed as JSON, and the query string of a GET is none.
    return error instanceof SyntaxError;
  }
}

console.log(JSON.stringify(cases.map(isGenuine)));
