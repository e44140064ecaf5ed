// Starts Swagger UI with the description that lies beside this page.
"use strict";

// "Execute" asks the stack that served the page, also where it is reached by another address than the description names: the page
// may not talk to strangers.
const here = new URL("..", document.baseURI).href.replace(/\/$/, "");
const TalkToThisStack = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (original) => (spec) => original({ ...spec, servers: [{ url: here, description: "This stack." }] }),
      },
    },
  },
});

// What is said about the API as a whole is unfolded by who wants it, so that the first operation stands on the first screen.
const FoldedDescription = ({ React }) => ({
  wrapComponents: {
    InfoContainer: (Original) => (props) =>
      React.createElement("details", { className: "about" },
        React.createElement("summary", null, "About this API: keys, waiting, numbers, webhooks"),
        React.createElement(Original, props)),
  },
});

// The filter finds operations by their name, path and summary, and not only groups by theirs.
const FindOperations = () => ({
  fn: {
    opsFilter: (groups, phrase) => {
      const wanted = phrase.toLowerCase();
      const has = (...texts) => texts.some((text) => String(text ?? "").toLowerCase().includes(wanted));
      const fits = (operation) =>
        has(operation.get("path"), operation.getIn(["operation", "operationId"]), operation.getIn(["operation", "summary"]));
      return groups
        .map((group, name) => (has(name) ? group : group.update("operations", (operations) => operations.filter(fits))))
        .filter((group) => group.get("operations").size > 0);
    },
  },
});

// A key that the console of this tab was given. It stays in the tab.
const handOver = () => {
  const key = sessionStorage.getItem("easyconnect-key");
  if (key) window.ui.preauthorizeApiKey("ApiKeyHeader", key);
};

window.ui = SwaggerUIBundle({
  url: "api.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [SwaggerUIBundle.plugins.DownloadUrl, TalkToThisStack, FoldedDescription, FindOperations],
  onComplete: handOver,
  layout: "BaseLayout",
  // A key that is typed in here is forgotten with the page.
  persistAuthorization: false,
  tryItOutEnabled: true,
  deepLinking: true,
  displayOperationId: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  filter: true,
  // Without this it would offer to show the description to a service elsewhere.
  validatorUrl: null,
});
