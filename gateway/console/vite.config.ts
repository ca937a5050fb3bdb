import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

const gateway = "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: "es2022",
    // The palette is written with light-dark(), which these know; the style sheet is not rewritten for older ones.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // Nothing becomes a data: address, because the policy allows those for pictures only.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 800,
  },
  server: { proxy: { "/api": gateway, "/health": gateway } },
  test: { environment: "jsdom", include: ["tests/**/*.test.ts"] },
});
