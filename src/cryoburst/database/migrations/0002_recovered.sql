-- One row when everything that is known outside (stores) has been read into this database since it was made. Without
-- it, a crash between the making of an empty database and its rebuilding would leave an empty list for ever.
CREATE TABLE recovered (
    time DOUBLE PRECISION NOT NULL
);
