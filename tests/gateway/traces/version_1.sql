CREATE TABLE projects (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);

CREATE TABLE observations (
  row INTEGER PRIMARY KEY,
  project INTEGER NOT NULL, trace TEXT NOT NULL, id TEXT NOT NULL,
  parent TEXT, root INTEGER NOT NULL, type TEXT NOT NULL, name TEXT,
  started INTEGER NOT NULL, ended INTEGER, level TEXT NOT NULL,
  environment TEXT NOT NULL, version TEXT, release TEXT,
  session TEXT, user TEXT, trace_name TEXT, tags TEXT, model TEXT,
  base TEXT, adapter TEXT, prompt_hash TEXT,
  created INTEGER NOT NULL, updated INTEGER NOT NULL,
  UNIQUE (project, trace, id)
);
CREATE TABLE bodies (row INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE INDEX observations_by_start ON observations (project, started);
CREATE INDEX observations_by_type ON observations (project, type, started);
CREATE INDEX observations_by_name ON observations (project, name, started);
CREATE INDEX observations_by_root ON observations (project, started) WHERE root = 1;
CREATE INDEX observations_by_session ON observations (project, session, started) WHERE session IS NOT NULL;
CREATE INDEX observations_by_user ON observations (project, user, started) WHERE user IS NOT NULL;
CREATE INDEX observations_by_adapter ON observations (project, adapter, started) WHERE adapter IS NOT NULL;

CREATE TABLE traces (
  row INTEGER PRIMARY KEY,
  project INTEGER NOT NULL, id TEXT NOT NULL, name TEXT,
  started INTEGER NOT NULL, ended INTEGER,
  session TEXT, user TEXT, environment TEXT NOT NULL, release TEXT, version TEXT,
  public INTEGER NOT NULL DEFAULT 0, tags TEXT, adapter TEXT, body BLOB,
  created INTEGER NOT NULL, updated INTEGER NOT NULL,
  UNIQUE (project, id)
);
CREATE INDEX traces_by_start ON traces (project, started);
CREATE INDEX traces_by_name ON traces (project, name, started);
CREATE INDEX traces_by_session ON traces (project, session, started) WHERE session IS NOT NULL;
CREATE INDEX traces_by_user ON traces (project, user, started) WHERE user IS NOT NULL;
CREATE INDEX traces_by_adapter ON traces (project, adapter, started) WHERE adapter IS NOT NULL;

CREATE TABLE scores (
  row INTEGER PRIMARY KEY,
  project INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
  number REAL, text TEXT, trace TEXT, session TEXT, observation TEXT, run TEXT,
  source TEXT NOT NULL, environment TEXT NOT NULL, comment TEXT, metadata TEXT,
  config TEXT, queue TEXT, author TEXT,
  timestamp INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  UNIQUE (project, id)
);
CREATE INDEX scores_by_time ON scores (project, timestamp);
CREATE INDEX scores_by_name ON scores (project, name, timestamp);
CREATE INDEX scores_by_trace ON scores (project, trace) WHERE trace IS NOT NULL;
CREATE INDEX scores_by_session ON scores (project, session) WHERE session IS NOT NULL;
CREATE INDEX scores_by_run ON scores (project, run) WHERE run IS NOT NULL;

CREATE TABLE datasets (
  project INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, description TEXT,
  metadata TEXT, input_schema TEXT, output_schema TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (project, name), UNIQUE (project, id)
);
CREATE TABLE dataset_items (
  project INTEGER NOT NULL, id TEXT NOT NULL, dataset TEXT NOT NULL, status TEXT NOT NULL,
  source_trace TEXT, source_observation TEXT, body BLOB NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (project, id)
);
CREATE INDEX dataset_items_by_dataset ON dataset_items (project, dataset, created);
CREATE INDEX dataset_items_by_trace ON dataset_items (project, source_trace) WHERE source_trace IS NOT NULL;

CREATE TABLE dataset_runs (
  project INTEGER NOT NULL, id TEXT NOT NULL, dataset TEXT NOT NULL, name TEXT NOT NULL,
  description TEXT, metadata TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (project, dataset, name), UNIQUE (project, id)
);
CREATE TABLE dataset_run_items (
  project INTEGER NOT NULL, id TEXT NOT NULL, run TEXT NOT NULL, item TEXT NOT NULL,
  trace TEXT NOT NULL, observation TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (project, run, item), UNIQUE (project, id)
);

CREATE TABLE prompts (
  project INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL,
  type TEXT NOT NULL, prompt TEXT NOT NULL, config TEXT NOT NULL, labels TEXT NOT NULL, tags TEXT NOT NULL,
  message TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (project, name, version)
);
PRAGMA user_version = 1;
