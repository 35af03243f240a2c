// Answers the part of Cloudflare's REST API for D1 that Patina and wrangler use, over the real engine: a Durable Object
// with SQLite has the same authorizer, limits and error texts as D1. One request is one transaction.

const ACCOUNT = "0123456789abcdef0123456789abcdef";
const TOKENS = { "test-token": "edit", "read-token": "read", "wide-token": "wide" };

const envelope = (result, more = {}) =>
  Response.json({ success: true, errors: [], messages: [], result, ...more });

const refusal = (status, code, message) =>
  Response.json({ success: false, errors: [{ code, message }], messages: [], result: null }, { status });

// A cell as D1's API gives it: bytes as numbers, infinity as null.
const cell = (value) => (value instanceof ArrayBuffer ? Array.from(new Uint8Array(value)) : value);

export class Database {
  constructor(state) {
    this.state = state;
    this.sql = state.storage.sql;
  }

  async fetch(request) {
    const { action, body } = await request.json();
    try {
      return envelope(this.state.storage.transactionSync(() => this[action](body)));
    } catch (error) {
      return refusal(400, 7500, error.message);
    }
  }

  // Several statements joined by `;` give the last one's rows only; no caller here needs more.
  raw({ sql, params, batch }) {
    const statements = batch ?? [{ sql, params }];
    return statements.map((statement) => {
      const cursor = this.sql.exec(statement.sql, ...(statement.params ?? []));
      const columns = cursor.columnNames;
      const rows = [];
      for (const row of cursor.raw()) rows.push(row.map(cell));
      return {
        results: { columns, rows },
        success: true,
        meta: { rows_read: cursor.rowsRead, rows_written: cursor.rowsWritten, served_by_primary: true },
      };
    });
  }

  query(body) {
    return this.raw(body).map(({ results: { columns, rows }, ...rest }) => ({
      ...rest,
      results: rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]]))),
    }));
  }

  import(statements) {
    for (const statement of statements) this.sql.exec(statement);
    return { size: this.sql.databaseSize };
  }

  info() {
    return { file_size: this.sql.databaseSize };
  }

  // The engine's own bookmark moves on reads; D1's does not.
  bookmark() {
    const [changes] = this.sql.exec("SELECT total_changes()").raw().next().value;
    const [schema] = this.sql.exec("SELECT total(length(sql)) FROM sqlite_schema").raw().next().value;
    const hex = (number) => number.toString(16).padStart(8, "0");
    return { bookmark: `${hex(schema)}-${hex(changes)}-00005077-${"0".repeat(32)}` };
  }
}

export class Registry {
  constructor(state) {
    this.sql = state.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS databases(uuid TEXT PRIMARY KEY, name TEXT UNIQUE)");
  }

  async fetch(request) {
    const { action, name, uuid } = await request.json();
    if (action === "create") {
      const made = crypto.randomUUID();
      this.sql.exec("INSERT INTO databases VALUES (?, ?)", made, name);
      return Response.json({ uuid: made, name });
    }
    if (action === "get") {
      return Response.json(this.sql.exec("SELECT * FROM databases WHERE uuid = ?", uuid).toArray()[0] ?? null);
    }
    return Response.json(this.sql.exec("SELECT * FROM databases ORDER BY name").toArray());
  }
}

const ask = async (stub, body) =>
  stub.fetch("http://object/", { method: "POST", body: JSON.stringify(body) });

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const path = url.pathname.split("/").slice(1).map(decodeURIComponent);
    if (path[0] === "ready") return new Response("ready");
    const rights = TOKENS[(request.headers.get("authorization") ?? "").replace(/^Bearer /, "")];
    if (!rights) return refusal(401, 10000, "Authentication error");
    if (rights === "wide" && path[0] === "zones") return envelope([{ name: "example.org" }]);
    if (path[0] !== "accounts" || path[2] !== "d1" || path[3] !== "database") {
      return refusal(404, 7000, "No route for that URI");
    }
    if (path[1] !== ACCOUNT) {
      return refusal(403, 7403, "The given account is not valid or is not authorized to access this service");
    }
    const registry = env.REGISTRY.get(env.REGISTRY.idFromName("all"));
    const [uuid, ...rest] = path.slice(4);
    if (uuid === undefined) {
      if (request.method === "POST") {
        const { name } = await request.json();
        return envelope(await (await ask(registry, { action: "create", name })).json());
      }
      const all = await (await ask(registry, { action: "list" })).json();
      const wanted = url.searchParams.get("name");
      const named = all.filter((database) => wanted === null || database.name === wanted);
      const per_page = Number(url.searchParams.get("per_page") ?? 1000);
      const page = Number(url.searchParams.get("page") ?? 1);
      if (!(page >= 1) || !(per_page >= 10 && per_page <= 10000)) return refusal(400, 7400, "bad page");
      const shown = named.slice((page - 1) * per_page, page * per_page).map((database) => ({
        ...database, version: "production", created_at: "2026-01-01T00:00:00.000Z",
      }));
      const result_info = { page, per_page, count: shown.length, total_count: named.length };
      return envelope(shown, { result_info });
    }
    if (request.method === "POST" && rest[0] === "import" && rights === "read") {
      return refusal(403, 10000, "Authentication error");
    }
    const known = await (await ask(registry, { action: "get", uuid })).json();
    if (known === null) return refusal(404, 7404, `The database ${uuid} could not be found`);
    const id = env.DATABASE.idFromName(uuid);
    const database = env.DATABASE.get(id);
    const call = `${request.method} ${rest.join("/")}`;
    switch (call) {
      case "GET ": {
        const { result } = await (await ask(database, { action: "info" })).json();
        return envelope({ ...known, ...result, version: "production", object_id: id.toString() });
      }
      case "GET time_travel/bookmark":
        return ask(database, { action: "bookmark" });
      case "POST raw":
      case "POST query": {
        const body = await request.json();
        const statements = body.batch ?? [{ sql: body.sql }];
        const writes = statements.some(({ sql }) => !/^\s*(SELECT|WITH)\b/i.test(sql));
        if (writes && rights !== "edit") {
          return refusal(403, 7500, "D1:Edit permission is required for any database writes via HTTP API");
        }
        return ask(database, { action: rest[0], body });
      }
      case "PUT import": // not Cloudflare's: a dump's statements as one transaction
        return ask(database, { action: "import", body: await request.json() });
      default:
        return refusal(405, 10405, "Method not allowed for this authentication scheme");
    }
  },
};
