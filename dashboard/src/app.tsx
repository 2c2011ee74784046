import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useNow } from "./lib/hooks";
import { ago } from "./lib/format";
import { href, usePlace, type Place } from "./lib/route";
import { useStore } from "./lib/store";
import { ChangePage } from "./pages/change";
import { ChangesPage } from "./pages/changes";
import { ComposePage } from "./pages/compose";
import { DataplanePage } from "./pages/dataplane";
import { ExplainPage } from "./pages/explain";
import { FleetPage } from "./pages/fleet";
import { InstancePage } from "./pages/instance";
import { LimitsPage } from "./pages/limits";
import { Login, LoginDialog } from "./pages/login";
import { RoutePage, RoutesPage } from "./pages/routes";
import { ServicePage } from "./pages/service";
import { ServicesPage } from "./pages/services";
import { TrafficPage } from "./pages/traffic";
import { connection, fleet, start as startFleet } from "./state/fleet";
import { load, logout, session } from "./state/session";
import { theme, toggleTheme } from "./state/theme";
import { Icon, type IconName } from "./ui/icons";
import { Empty, Loading } from "./ui/parts";

interface Entry {
  page: string;
  name: string;
  icon: IconName;
}

const PAGES: Entry[] = [
  { page: "", name: "Fleet", icon: "fleet" },
  { page: "traffic", name: "Traffic", icon: "traffic" },
  { page: "services", name: "Services", icon: "services" },
  { page: "routes", name: "Routes", icon: "routes" },
  { page: "limits", name: "Limits", icon: "limits" },
  { page: "changes", name: "Changes", icon: "changes" },
  { page: "explain", name: "Explain", icon: "explain" },
];

export function App(): JSX.Element {
  const now = useStore(session);
  const [asked, setAsked] = useState(false);
  if (now.state === "loading") return <Loading />;
  if (now.state === "unreachable") return <Unreachable reason={now.reason} />;
  if (now.state === "out") return <Login reason={now.reason} />;
  const { username } = now.session;
  return (
    <>
      <Inside username={username} problem={now.problem ?? ""} login={() => setAsked(true)} />
      {now.ended !== undefined && <LoginDialog reason={now.ended} />}
      {asked && username === null && <LoginDialog reason="" cancel={() => setAsked(false)} />}
    </>
  );
}

function Unreachable({ reason }: { reason: string }): JSX.Element {
  return (
    <main class="login">
      <div class="failure" role="alert">
        <Icon name="critical" />
        <p>{reason}. Trying again …</p>
        <button type="button" onClick={() => void load()}>
          Try now
        </button>
      </div>
    </main>
  );
}

interface InsideProps {
  username: string | null;
  problem: string;
  login: () => void;
}

function Inside({ username, problem, login }: InsideProps): JSX.Element {
  const place = usePlace();
  useEffect(() => startFleet(), [username]);
  useEffect(() => {
    window.scrollTo(0, 0);
  }, [place.parts.join("/")]);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={href()}>
          Headgate
        </a>
        <Navigation current={place.parts[0] ?? ""} />
        <div class="tools">
          <Live />
          <ThemeButton />
          {username === null ? (
            <button type="button" onClick={login}>
              Log in
            </button>
          ) : (
            <button type="button" onClick={() => void logout()} title={`Log out ${username}`}>
              Log out <span class="wide-only">{username}</span>
            </button>
          )}
        </div>
      </header>
      <Lost />
      {problem && (
        <p class="lost" role="alert">
          <Icon name="warning" /> The session cannot be renewed: {problem}. Trying again …
        </p>
      )}
      <main id="main" tabIndex={-1}>
        <Page place={place} />
      </main>
    </div>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Navigation({ current }: { current: string }): JSX.Element {
  return (
    <nav aria-label="Pages">
      {PAGES.map((one) => (
        <a key={one.page} href={one.page ? href(one.page) : href()} aria-current={one.page === current ? "page" : undefined}>
          <Icon name={one.icon} />
          <span>{one.name}</span>
        </a>
      ))}
    </nav>
  );
}

function Live(): JSX.Element {
  const now = useStore(connection);
  const state = useStore(fleet);
  const words = { live: "live", connecting: "connecting", lost: "lost" }[now.state];
  return (
    <span class={`live ${now.state}`} role="status">
      {words}
      {state && <span class="wide-only"> · revision {state.head.revision}</span>}
    </span>
  );
}

function Lost(): JSX.Element | null {
  const now = useStore(connection);
  const time = useNow();
  if (now.state !== "lost") return null;
  const news = `the last news came ${ago(new Date(now.since).toISOString(), time)}`;
  return (
    <p class="lost" role="alert">
      <Icon name="warning" />{" "}
      {now.reason
        ? `The control plane sends no news: ${now.reason}; ${news}.`
        : `The control plane does not answer; ${news}. Data planes keep serving. Connecting again …`}
    </p>
  );
}

function ThemeButton(): JSX.Element {
  const now = useStore(theme);
  return (
    <button type="button" class="quiet" onClick={toggleTheme} aria-label={now === "dark" ? "Light colors" : "Dark colors"}>
      <Icon name={now === "dark" ? "sun" : "moon"} />
    </button>
  );
}

function Services({ rest: [name, , instance] }: { rest: string[] }): JSX.Element {
  if (name === undefined) return <ServicesPage />;
  return instance === undefined ? <ServicePage key={name} name={name} /> : <InstancePage key={instance} service={name} instance={instance} />;
}

function Changes({ rest: [which] }: { rest: string[] }): JSX.Element {
  if (which === undefined) return <ChangesPage />;
  return which === "new" ? <ComposePage /> : <ChangePage key={which} revision={Number(which)} />;
}

function Page({ place }: { place: Place }): JSX.Element {
  const [page, ...rest] = place.parts;
  switch (page) {
    case undefined:
      return <FleetPage />;
    case "dataplanes":
      return <DataplanePage node={rest[0] ?? ""} />;
    case "traffic":
      return <TrafficPage />;
    case "services":
      return <Services rest={rest} />;
    case "routes":
      return rest[0] === undefined ? <RoutesPage /> : <RoutePage key={rest[0]} name={rest[0]} />;
    case "limits":
      return <LimitsPage name={rest[0]} />;
    case "explain":
      return <ExplainPage />;
    case "changes":
      return <Changes rest={rest} />;
    default:
      return (
        <Empty>
          There is no such page. <a href={href()}>To the fleet</a>
        </Empty>
      );
  }
}
