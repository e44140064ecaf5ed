// The way to the API for those who build with it.

import { apiAddress } from "./api.js";
import { copyButton, h } from "./dom.js";
import { t } from "./texts.js";

const FILES = [["api.yaml", "OpenAPI 3.0"], ["makers.json", "OpenAPI 3.0, for flows only"], ["v2.json", "Swagger 2.0 for Power Platform"]];

export default async function api(view) {
  view.main.replaceChildren(view.title(t("api.title")), h("section", { class: "card" }, h("p", {}, t("api.what")),
    h("p", {}, h("a", { class: "button", href: `${apiAddress}/swagger/` }, t("api.swagger"))),
    h("h2", {}, t("api.address")), h("div", { class: "row" }, h("code", {}, apiAddress), copyButton(apiAddress, t("copy"), t("copied"))),
    h("p", { class: "hint" }, t("api.key")),
    h("h2", {}, t("api.import")), h("ul", {}, FILES.map(([name, what]) => h("li", {}, h("a", { href: `${apiAddress}/swagger/${name}` }, name), ` · ${what}`)))));
}
