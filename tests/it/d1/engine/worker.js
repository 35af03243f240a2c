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

const name = (text) => `"${text.replaceAll('"', '""')}"`;

// A value as D1's exporter writes it: through a JavaScript number, and with newlines as escapes to be replaced back.
const literal = (value) => {
  if (value === null) return "NULL";
  if (value instanceof ArrayBuffer) {
    const hex = Array.from(new Uint8Array(value), (byte) => byte.toString(16).padStart(2, "0"));
    return `X'${hex.join("")}'`;
  }
  if (typeof value === "number") return Number.isFinite(value) ? `${value}` : value > 0 ? "9e999" : "-9e999";
  const escaped = value.replaceAll("'", "''").replaceAll("\n", "\\n").replaceAll("\r", "\\r");
  const without_cr = value.includes("\r") ? `replace('${escaped}','\\r',char(13))` : `'${escaped}'`;
  return value.includes("\n") ? `replace(${without_cr},'\\n',char(10))` : without_cr;
};

// The file that D1's own export gives, statement by statement. tests/it/d1/export.rs holds it against wrangler's.
function* exported(sql) {
  yield "PRAGMA defer_foreign_keys=TRUE;";
  const entries = (types, order) =>
    [...sql.exec(`SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL AND type IN (${types}) ORDER BY ${order}`).raw()];
  for (const [table, text] of entries("'table'", "tbl_name='sqlite_sequence', rowid")) {
    if (table === "sqlite_sequence") yield "DELETE FROM sqlite_sequence;";
    else if (/^sqlite_stat./.test(table)) yield "ANALYZE sqlite_schema;";
    else if (text.startsWith("CREATE VIRTUAL TABLE")) {
      throw new Error("D1 Export error: cannot export databases with Virtual Tables (fts5)");
    } else if (table.startsWith("_cf_") || table.startsWith("sqlite_")) continue;
    else yield /CREATE TABLE ['"]/.test(text) ? `CREATE TABLE IF NOT EXISTS ${text.slice(13)};` : `${text};`;
    const columns = [...sql.exec(`PRAGMA table_info=${name(table)}`)].map((column) => name(column.name));
    for (const row of sql.exec(`SELECT ${columns.join(", ")} FROM ${name(table)};`).raw()) {
      yield `INSERT INTO ${name(table)} (${columns.join(",")}) VALUES(${row.map(literal).join(",")});`;
    }
  }
  for (const [, text] of entries("'index','trigger','view'", "type COLLATE NOCASE")) yield `${text};`;
}

// Executes a file's statements one by one: the engine takes no longer text at once than one statement may be.
function ingest(sql, text) {
  let count = 0;
  for (const statement of split(text)) {
    sql.exec(statement);
    count += 1;
  }
  return count;
}

// Statements end at `;` outside quotes and comments; those of a trigger at `END;`.
function* split(text) {
  const part = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*[^]*?(?:\*\/|$)|;|[A-Za-z_][A-Za-z_0-9$]*|[^]/g;
  let start = 0;
  let seen = [];
  for (const { 0: token, index } of text.matchAll(part)) {
    if (/^(\s|--|\/\*)/.test(token)) continue;
    if (token === ";") {
      const is_trigger = /^CREATE (TEMP |TEMPORARY )?TRIGGER\b/.test(seen.slice(0, 3).join(" "));
      if (!is_trigger || seen.slice(-2).join("") === ";END") {
        yield text.slice(start, index + 1);
        start = index + 1;
        seen = [];
        continue;
      }
    }
    seen.push(token.length < 12 ? token.toUpperCase() : "");
  }
}

// An export that nobody asks after for so long cancels itself.
const UNPOLLED_MS = 15_000;

// So often it is asked after before it is made.
const POLLS = 2;

export class Database {
  constructor(state) {
    this.state = state;
    this.sql = state.storage.sql;
    this.job = null;
    this.upload = null;
    this.files = new Map();
  }

  isExporting() {
    return this.job !== null && Date.now() - this.job.asked < UNPOLLED_MS;
  }

  export({ current_bookmark }) {
    const answer = (more) => ({ success: true, type: "export", messages: [], at_bookmark: this.job.bookmark, ...more });
    if (current_bookmark === undefined) {
      this.job = { bookmark: this.bookmark().bookmark, polls: 0, asked: Date.now() };
      return answer({ status: "active" });
    }
    if (!this.isExporting() || this.job.bookmark !== current_bookmark) {
      return { success: false, error: "Not currently exporting anything." };
    }
    Object.assign(this.job, { polls: this.job.polls + 1, asked: Date.now() });
    if (this.job.polls < POLLS) return answer({ status: "active", messages: ["Generating dump file"] });
    const token = crypto.randomUUID();
    try {
      this.files.set(token, [...exported(this.sql)].join("\n"));
    } catch (error) {
      this.job = null;
      return { success: false, error: error.message };
    }
    const complete = answer({ status: "complete", messages: ["Uploaded part 1"], token });
    this.job = null;
    return complete;
  }

  // Cloudflare's import: the file of a signed link, executed whole or not at all, when it is asked after.
  importing({ action, etag, filename, current_bookmark }) {
    const answer = (more) => ({ success: true, type: "import", messages: [], at_bookmark: this.bookmark().bookmark, ...more });
    if (action === "init") {
      this.upload = { etag, filename: `${crypto.randomUUID()}.sql`, text: null };
      return { success: true, type: "import", filename: this.upload.filename };
    }
    if (action === "ingest") {
      if (this.upload?.filename !== filename || this.upload.etag !== etag || this.upload.text === null) {
        return { success: false, error: "the file was not uploaded" };
      }
      return answer({ status: "active" });
    }
    if (current_bookmark === undefined || !this.upload?.text) {
      return { success: false, error: "Not currently importing anything." };
    }
    const { text } = this.upload;
    this.upload = null;
    try {
      const num_queries = this.state.storage.transactionSync(() => ingest(this.sql, text));
      const size_after = this.sql.databaseSize;
      const meta = { duration: 1, rows_read: 0, rows_written: 0, size_after, changed_db: true };
      return answer({ status: "complete", result: { final_bookmark: this.bookmark().bookmark, num_queries, meta } });
    } catch (error) {
      return answer({ status: "error", error: error.message });
    }
  }

  async fetch(request) {
    if (request.method === "PUT") {
      const bytes = await request.arrayBuffer();
      const md5 = Array.from(new Uint8Array(await crypto.subtle.digest("MD5", bytes)), (byte) =>
        byte.toString(16).padStart(2, "0")).join("");
      const name = new URL(request.url).pathname.slice(1);
      if (this.upload?.filename !== name || this.upload.etag !== md5) return new Response("BadDigest", { status: 400 });
      this.upload.text = new TextDecoder().decode(bytes);
      return new Response("", { headers: { etag: `"${md5}"` } });
    }
    const { action, body } = await request.json();
    if (action === "file") {
      const file = this.files.get(body.token);
      return file === undefined ? new Response("ExpiredToken", { status: 403 }) : new Response(file);
    }
    const isFirst = action === "export" && body.current_bookmark === undefined;
    if (this.isExporting() && (isFirst || ["raw", "query", "import"].includes(action))) {
      const next = isFirst ? " Cannot start a new export until that completes or times out." : "";
      return refusal(400, 7500, `Currently processing a long-running export.${next}`);
    }
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
    if (path[0] === "signed" && request.method === "PUT") {
      if (request.headers.has("authorization")) return new Response("InvalidArgument", { status: 400 });
      const stub = env.DATABASE.get(env.DATABASE.idFromName(path[1]));
      return stub.fetch(`http://object/${path[2]}`, { method: "PUT", body: await request.arrayBuffer() });
    }
    if (path[0] === "signed") {
      // A signed link is all the right there is: a token beside it is one given away.
      if (request.headers.has("authorization")) return new Response("InvalidArgument", { status: 400 });
      const file = env.DATABASE.get(env.DATABASE.idFromName(path[1]));
      return ask(file, { action: "file", body: { token: path[2] } });
    }
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
      case "POST export": {
        const answer = await (await ask(database, { action: "export", body: await request.json() })).json();
        if (answer.result?.token) {
          const { token, ...rest } = answer.result;
          const filename = `${known.name}.sql`;
          const signed_url = `${url.origin}/signed/${uuid}/${token}?X-Amz-Expires=3600`;
          answer.result = { ...rest, result: { filename, signed_url } };
        }
        return Response.json(answer, { status: answer.success ? 200 : 400 });
      }
      case "POST import": {
        // Such a name stands for an account that has no import.
        if (known.name.startsWith("no-import")) return refusal(405, 10405, "Method not allowed");
        const answer = await (await ask(database, { action: "importing", body: await request.json() })).json();
        if (answer.result?.filename && !answer.result.status) {
          answer.result.upload_url = `${url.origin}/signed/${uuid}/${answer.result.filename}?X-Amz-Expires=3600`;
        }
        return Response.json(answer, { status: answer.success ? 200 : 400 });
      }
      case "PUT import": // not Cloudflare's: a dump's statements as one transaction
        return ask(database, { action: "import", body: await request.json() });
      default:
        return refusal(405, 10405, "Method not allowed for this authentication scheme");
    }
  },
};
