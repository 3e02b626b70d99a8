"use strict";
new EventSource("/api/v1/events").addEventListener("full", (event) => {
  const { overview } = JSON.parse(event.data);
  const { site } = overview.status.gateway;
  document.getElementById("line").textContent = `${site}: ${overview.flow.samples} samples`;
});
