import { render } from "preact";
import { App } from "./app";
import { start as startSession } from "./state/session";
import { start as startTheme } from "./state/theme";
import "./style/base.css";
import "./style/parts.css";
import "./style/pages.css";

startTheme();
startSession();
const root = document.getElementById("app");
if (root) render(<App />, root);
