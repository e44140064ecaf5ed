// Lists the users and makes a call with the types that openapi-typescript generated from the API's own OpenAPI file into the folder in
// which this is compiled. Arguments: the API's base URL and a key. Prints both answers as JSON; `tests/e2e/tools.rs` judges them.
import createClient from "openapi-fetch";
import type { components, paths } from "./easyconnect.js";

declare const process: { argv: string[] };

const [baseUrl, key] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { "X-API-Key": key } });

// The compiler knows the fields: what is needed suffices, and what does not exist is an error.
const body: components["schemas"]["MakeCallRequest"] = { from: "77", to: "50" };
// @ts-expect-error
body.form = "77";
delete (body as Record<string, unknown>).form;

const users = await client.GET("/rcc/users", { params: { query: { limit: 200 } } });
const call = await client.POST("/rcc/makecall", { body });
const state: string | undefined = call.data?.state;
console.log(JSON.stringify({ users: users.data ?? users.error, call: call.data ?? call.error, state }));
