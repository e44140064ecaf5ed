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

window.ui = SwaggerUIBundle({
  url: "api.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [SwaggerUIBundle.plugins.DownloadUrl, TalkToThisStack],
  layout: "BaseLayout",
  // The key stays in this browser's storage until "Remove authorization".
  persistAuthorization: true,
  tryItOutEnabled: true,
  deepLinking: true,
  displayOperationId: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  filter: true,
  // Without this it would offer to show the description to a service elsewhere.
  validatorUrl: null,
});
