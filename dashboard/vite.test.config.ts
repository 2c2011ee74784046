import { defineConfig } from "vite";

// Unit tests become one file for the test runner of Node, which needs no further package.
export default defineConfig({
  build: { ssr: "test/all.ts", outDir: "build/test", emptyOutDir: true, target: "es2022" },
});
