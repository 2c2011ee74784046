import { defineConfig } from "vite";

// The control plane serves what is built from its own folder: see controlplane/api/dashboard.py.
export default defineConfig({
  base: "/",
  build: {
    outDir: "../controlplane/dashboard",
    emptyOutDir: true,
    assetsDir: "assets",
    // Everything is a file of its own: the policy of the page allows no inline script, style or font.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    target: "es2022",
  },
});
