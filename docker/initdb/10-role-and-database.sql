-- Run once by the superuser, when the data folder is made: the role that the program connects as, and its database.
-- The role is no superuser, because a superuser could not be kept from changing the ledger; it owns its database, so that it can migrate it.
\set ON_ERROR_STOP on
\getenv password LOYALTY_DATABASE_PASSWORD

-- A statement that fails would be logged, and this one holds a password.
SET log_min_error_statement = panic;
CREATE ROLE loyalty LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
RESET log_min_error_statement;

CREATE DATABASE loyalty OWNER loyalty TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE loyalty FROM PUBLIC;
