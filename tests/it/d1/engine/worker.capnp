# The real D1 engine behind the REST API of Cloudflare, on loopback. Started by tests/it/d1/engine.rs.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .api),
    (name = "disk", disk = (writable = true)),
  ],
  sockets = [(name = "http", http = (), service = "main")],
);

const api :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2025-10-01",
  # An idle object would lose its memory, and `total_changes()` with it.
  durableObjectNamespaces = [
    (className = "Database", uniqueKey = "d1", enableSql = true, preventEviction = true),
    (className = "Registry", uniqueKey = "registry", enableSql = true, preventEviction = true),
  ],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [
    (name = "DATABASE", durableObjectNamespace = "Database"),
    (name = "REGISTRY", durableObjectNamespace = "Registry"),
  ],
);
