from sqlalchemy import JSON, Column, ForeignKey, Integer, String, create_engine, func, inspect, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID, insert
from sqlalchemy.orm import Session, declarative_base, joinedload, relationship

from harness import DATABASE, HOST, PASSWORD, PORT, USER, run, same

URL = f"postgresql+psycopg2://{USER}:{PASSWORD}@{HOST}:{PORT}/{DATABASE}?sslmode=disable"
# One connection: what another session has committed is promised to a reader at consistency `database` only.
engine = create_engine(URL, pool_size=1, max_overflow=0, pool_pre_ping=True)
Base = declarative_base()


class Author(Base):
    __tablename__ = "sqlalchemy_authors"
    id = Column(Integer, primary_key=True)
    name = Column(String, unique=True, nullable=False)
    extra = Column(JSONB)
    tags = Column(ARRAY(String))
    books = relationship("Book", back_populates="author", cascade="all")


class Book(Base):
    __tablename__ = "sqlalchemy_books"
    id = Column(UUID(as_uuid=True), primary_key=True, server_default=func.gen_random_uuid())
    title = Column(String)
    plain = Column(JSON)
    author_id = Column(ForeignKey("sqlalchemy_authors.id"))
    author = relationship("Author", back_populates="books")


def step_migrate():
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    found = inspect(engine)
    same([c["name"] for c in found.get_columns("sqlalchemy_authors")], ["id", "name", "extra", "tags"])
    same(found.get_foreign_keys("sqlalchemy_books")[0]["referred_table"], "sqlalchemy_authors")


def step_read_your_writes():
    for i in range(50):
        with Session(engine) as session:
            author = Author(name=f"author {i}", extra={"i": i}, tags=["a", "b"], books=[Book(title="a"), Book(title="b")])
            session.add(author)
            session.commit()
            key = author.id
        with Session(engine) as session:
            found = session.execute(select(Author).options(joinedload(Author.books)).where(Author.id == key)).unique().scalar_one()
            same((found.name, found.extra, len(found.books)), (f"author {i}", {"i": i}, 2))
            found.name = f"renamed {i}"
            session.commit()
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            same(c.execute(select(Author.name).where(Author.id == key)).scalar(), f"renamed {i}")


def step_transactions():
    with Session(engine) as session:
        session.add(Author(name="outer"))
        session.flush()
        try:
            with session.begin_nested():
                session.add(Author(name="outer"))
                session.flush()
        except Exception as error:  # noqa: BLE001
            same(error.orig.pgcode, "23505")
        session.commit()
        session.add(Author(name="rolled back"))
        session.flush()
        session.rollback()
        same(session.scalar(select(func.count()).where(Author.name.in_(["outer", "rolled back"]))), 1)
        session.scalar(select(Author).where(Author.name == "outer").with_for_update())
        session.rollback()
    with engine.connect().execution_options(isolation_level="SERIALIZABLE", postgresql_readonly=True) as c:
        same(c.execute(select(func.count()).select_from(Author)).scalar(), 51)


def step_upsert():
    with engine.connect() as c:
        for i in range(20):
            query = insert(Author).values(name="same", extra={"i": i})
            c.execute(query.on_conflict_do_update(index_elements=["name"], set_={"extra": {"i": i}}))
            c.execute(text("COMMIT"))
            same(c.execute(select(Author.extra).where(Author.name == "same")).scalar(), {"i": i})


def step_stream():
    with engine.connect().execution_options(stream_results=True, yield_per=50) as c:
        same([row.i for row in c.execute(text("SELECT i FROM generate_series(1, 1000) i"))], list(range(1, 1001)))


run({"migrate": step_migrate, "read-your-writes": step_read_your_writes, "transactions": step_transactions, "upsert": step_upsert, "stream": step_stream})
