//! Programs whose schemas take more than a stock SQLite has.

use super::Program;

pub(super) const FLASHCARDS: Program = Program {
    name: "flashcards",
    settings: "PRAGMA page_size=4096",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE col (id integer PRIMARY KEY, crt integer NOT NULL, mod integer NOT NULL, ver integer NOT NULL, conf text NOT NULL);
             CREATE TABLE notes (
               id integer PRIMARY KEY, guid text NOT NULL, mid integer NOT NULL, mod integer NOT NULL, usn integer NOT NULL, tags text NOT NULL, flds text NOT NULL,
               -- The use of type integer for sfld is deliberate, because it means that integer values in this
               -- field will sort numerically.
               sfld integer NOT NULL, csum integer NOT NULL, flags integer NOT NULL, data text NOT NULL
             );
             CREATE TABLE cards (id integer PRIMARY KEY, nid integer NOT NULL, did integer NOT NULL, ord integer NOT NULL, due integer NOT NULL, ivl integer NOT NULL, factor integer NOT NULL, data text NOT NULL);
             CREATE TABLE revlog (id integer PRIMARY KEY, cid integer NOT NULL, ease integer NOT NULL, ivl integer NOT NULL, time integer NOT NULL);
             CREATE TABLE notetypes (id integer NOT NULL PRIMARY KEY, name text NOT NULL COLLATE unicase, mtime_secs integer NOT NULL, config blob NOT NULL);
             CREATE TABLE fields (ntid integer NOT NULL, ord integer NOT NULL, name text NOT NULL COLLATE unicase, config blob NOT NULL, PRIMARY KEY (ntid, ord)) WITHOUT ROWID;
             CREATE TABLE decks (id integer PRIMARY KEY NOT NULL, name text NOT NULL COLLATE unicase, common blob NOT NULL);
             CREATE TABLE tags (tag text NOT NULL PRIMARY KEY COLLATE unicase, usn integer NOT NULL, collapsed boolean NOT NULL, config blob NULL) WITHOUT ROWID;
             CREATE TABLE graves (oid integer NOT NULL, type integer NOT NULL, usn integer NOT NULL, PRIMARY KEY (oid, type)) WITHOUT ROWID;
             CREATE UNIQUE INDEX idx_fields_name_ntid ON fields (name, ntid);
             CREATE UNIQUE INDEX idx_notetypes_name ON notetypes (name);
             CREATE UNIQUE INDEX idx_decks_name ON decks (name);
             CREATE INDEX ix_notes_csum ON notes (csum);
             CREATE INDEX ix_cards_sched ON cards (did, due);
             CREATE INDEX ix_revlog_cid ON revlog (cid);
             INSERT INTO col VALUES (1, 1600000000, 1700000000123, 18, '{}');
             INSERT INTO notetypes VALUES (1700000000001, 'Basic', 0, X'0A00'), (1700000000002, 'Básico', 0, X''), (1700000000003, 'Cloze', 0, X'FF');
             INSERT INTO fields SELECT id, 0, 'Front', X'' FROM notetypes UNION ALL SELECT id, 1, 'Rück' || char(0x1f) || 'seite', X'00' FROM notetypes;
             INSERT INTO decks VALUES (1, 'Default', X'00'), (2, 'Español' || char(0x1f) || 'Verbos', X'01'), (3, '日本語', X'02');
             INSERT INTO tags VALUES ('marked', 1, 0, NULL), ('Ärger', 1, 1, X'01'), ('zebra', -1, 0, NULL), ('ÉTÉ', 0, 0, NULL);
             INSERT INTO graves VALUES (1, 0, -1), (1, 1, -1), (5, 2, 0);
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 400)
             INSERT INTO notes SELECT 1650000000000 + i * 17, printf('g%x', i * 99991), 1700000000001 + i % 3, 1700000000 + i, -1, ' marked ', 'front ' || i || char(31) || '<b>back</b>',
               CASE WHEN i % 3 THEN 'front ' || i ELSE i END, i * 2654435761 % 4294967296, 0, '' FROM n;
             INSERT INTO cards SELECT id + 1, id, id % 3 + 1, 0, id % 1000, 21, 2500, '{\"s\":1.5}' FROM notes;
             INSERT INTO revlog SELECT id * 2, id, 3, 10, 4200 FROM cards;
             ANALYZE;
             DROP TABLE sqlite_stat4;
             UPDATE sqlite_stat1 SET stat = '1000 1' WHERE tbl = 'tags';",
        )
    },
    needs_program: true,
    question: "SELECT count(*) FROM tags, decks WHERE tag = 'ärger' COLLATE unicase",
    answer: 3,
};

pub(super) const GEOPACKAGE: Program = Program {
    name: "geopackage",
    settings: "PRAGMA application_id=1196444487; PRAGMA user_version=10300",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
             CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')), min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER, CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
             CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL, CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name));
             CREATE TABLE gpkg_extensions (table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL, scope TEXT NOT NULL, CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
             CREATE TABLE gpkg_tile_matrix (table_name TEXT NOT NULL, zoom_level INTEGER NOT NULL, pixel_x_size DOUBLE NOT NULL, PRIMARY KEY (table_name, zoom_level));
             CREATE TABLE \"roads\" ( \"fid\" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, \"geom\" LINESTRING, \"name\" TEXT(80), \"width\" REAL, \"lanes\" MEDIUMINT);
             CREATE TABLE tiles (id INTEGER PRIMARY KEY AUTOINCREMENT, zoom_level INTEGER NOT NULL, tile_column INTEGER NOT NULL, tile_row INTEGER NOT NULL, tile_data BLOB NOT NULL, UNIQUE (zoom_level, tile_column, tile_row));
             CREATE VIRTUAL TABLE \"rtree_roads_geom\" USING rtree(id, minx, maxx, miny, maxy);
             CREATE TRIGGER \"rtree_roads_geom_insert\" AFTER INSERT ON \"roads\" WHEN (new.\"geom\" NOT NULL AND NOT ST_IsEmpty(NEW.\"geom\")) BEGIN INSERT OR REPLACE INTO \"rtree_roads_geom\" VALUES (NEW.\"fid\", ST_MinX(NEW.\"geom\"), ST_MaxX(NEW.\"geom\"), ST_MinY(NEW.\"geom\"), ST_MaxY(NEW.\"geom\")); END;
             CREATE TRIGGER \"rtree_roads_geom_delete\" AFTER DELETE ON \"roads\" WHEN old.\"geom\" NOT NULL BEGIN DELETE FROM \"rtree_roads_geom\" WHERE id = OLD.\"fid\"; END;
             CREATE TRIGGER gpkg_tile_matrix_zoom BEFORE INSERT ON gpkg_tile_matrix FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'insert on table ''gpkg_tile_matrix'' violates constraint: zoom_level cannot be less than 0') WHERE (NEW.zoom_level < 0); END;
             INSERT INTO gpkg_spatial_ref_sys VALUES ('Undefined cartesian', -1, 'NONE', -1, 'undefined', NULL), ('WGS 84', 4326, 'EPSG', 4326, 'GEOGCS[\"WGS 84\",DATUM[\"WGS_1984\"]]', 'lon/lat');
             INSERT INTO gpkg_contents VALUES ('roads', 'features', 'roads', '', '2024-01-01T00:00:00.000Z', -10.5, 40.25, 3.75, 55, 4326), ('tiles', 'tiles', 'tiles', 'd', '2024-01-01T00:00:00.000Z', NULL, NULL, NULL, NULL, 4326);
             INSERT INTO gpkg_geometry_columns VALUES ('roads', 'geom', 'LINESTRING', 4326, 0, 0);
             INSERT INTO gpkg_extensions VALUES ('roads', 'geom', 'gpkg_rtree_index', 'http://www.geopackage.org/spec120/#extension_rtree', 'write-only'), (NULL, NULL, 'x', 'y', 'z'), (NULL, NULL, 'x', 'y', 'z');
             INSERT INTO gpkg_tile_matrix VALUES ('tiles', 0, 156543.03392804097), ('tiles', 1, 78271.516964020485);
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO tiles(zoom_level, tile_column, tile_row, tile_data) SELECT 4, i % 16, i / 16, CAST('PNG' || char(0) || i AS BLOB) || zeroblob(i) FROM n;
             DROP TRIGGER \"rtree_roads_geom_insert\";
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 350)
             INSERT INTO roads SELECT i, X'47500001E6100000', 'Straße ' || i, i / 3.0, i % 4 FROM n;
             INSERT INTO rtree_roads_geom SELECT fid, fid / 100.0, fid / 100.0 + 0.5, 45 + fid / 7.0, 46 + fid / 7.0 FROM roads;
             CREATE TRIGGER \"rtree_roads_geom_insert\" AFTER INSERT ON \"roads\" WHEN (new.\"geom\" NOT NULL AND NOT ST_IsEmpty(NEW.\"geom\")) BEGIN INSERT OR REPLACE INTO \"rtree_roads_geom\" VALUES (NEW.\"fid\", ST_MinX(NEW.\"geom\"), ST_MaxX(NEW.\"geom\"), ST_MinY(NEW.\"geom\"), ST_MaxY(NEW.\"geom\")); END;
             DELETE FROM roads WHERE fid > 340;",
        )
    },
    needs_program: false,
    question: "SELECT count(*) FROM roads JOIN rtree_roads_geom ON id = fid WHERE minx < 2",
    answer: 199,
};

pub(super) const VECTORS: Program = Program {
    name: "vectors",
    settings: "PRAGMA journal_mode=WAL",
    build: |db| {
        db.execute_batch(
            "CREATE TABLE documents(id INTEGER PRIMARY KEY, source TEXT, chunk TEXT, added TEXT DEFAULT CURRENT_TIMESTAMP);
             CREATE TABLE \"vec_documents_info\"(key text primary key, value any);
             CREATE TABLE \"vec_documents_chunks\"(chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,size INTEGER NOT NULL,validity BLOB NOT NULL,rowids BLOB NOT NULL);
             CREATE TABLE \"vec_documents_rowids\"(rowid INTEGER PRIMARY KEY AUTOINCREMENT,id,chunk_id INTEGER,chunk_offset INTEGER);
             CREATE TABLE \"vec_documents_vector_chunks00\"(rowid PRIMARY KEY,vectors BLOB NOT NULL);
             CREATE TABLE \"vec_documents_auxiliary\"(rowid integer PRIMARY KEY , value00);
             CREATE TRIGGER document_deleted AFTER DELETE ON documents BEGIN DELETE FROM vec_documents WHERE rowid = old.id; END;
             CREATE VIRTUAL TABLE chunks_fts USING fts5(chunk, content='documents', content_rowid='id');
             INSERT INTO vec_documents_info VALUES ('CREATE_VERSION', 'v0.1.6'), ('CREATE_VERSION_MAJOR', 0), ('CREATE_VERSION_PATCH', 6);
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)
             INSERT INTO documents SELECT i, 'file' || (i % 9) || '.md', 'chunk ' || i || ' about backups', '2024-01-01 00:00:00' FROM n;
             INSERT INTO vec_documents_chunks VALUES (1, 1024, zeroblob(128), zeroblob(8192));
             INSERT INTO vec_documents_rowids SELECT id, NULL, 1, id - 1 FROM documents;
             INSERT INTO vec_documents_vector_chunks00 VALUES (1, zeroblob(4096) || CAST('0123456789abcdef' AS BLOB));
             INSERT INTO vec_documents_auxiliary SELECT id, source FROM documents;
             INSERT INTO chunks_fts(chunks_fts) VALUES ('rebuild');
             PRAGMA writable_schema=ON;
             INSERT INTO sqlite_schema(type, name, tbl_name, rootpage, sql) VALUES ('table', 'vec_documents', 'vec_documents', 0,
               'CREATE VIRTUAL TABLE vec_documents USING vec0(' || char(10) || '  embedding float[8] distance_metric=cosine,' || char(10) || '  +source text' || char(10) || ')');
             PRAGMA writable_schema=OFF;",
        )
    },
    needs_program: true,
    question: "SELECT count(*) FROM vec_documents_rowids JOIN documents ON documents.id = vec_documents_rowids.rowid",
    answer: 200,
};
