# One image for every part of Leasehold; the command chooses which: `agent`, `proxy`, `monitor`, `status`, …
# Another PostgreSQL comes from the Debian release that has it, for instance
#   docker compose build --build-arg DEBIAN=bookworm --build-arg POSTGRESQL=15
ARG DEBIAN=trixie
ARG POSTGRESQL=17

FROM node:24-trixie-slim AS node
WORKDIR /opt/leasehold
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM debian:${DEBIAN}-slim
ARG POSTGRESQL

# No cluster of Debian's own: the agent makes, starts and stops the only one.
RUN mkdir -p /etc/postgresql-common \
 && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
 && apt-get update \
 && apt-get install -y --no-install-recommends postgresql-${POSTGRESQL} postgresql-client-${POSTGRESQL} libstdc++6 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/leasehold
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /opt/leasehold ./
COPY common common
COPY election election
COPY replication-monitor replication-monitor
COPY proxy proxy
COPY ops ops

RUN install -d -o postgres -g postgres -m 0700 /var/lib/leasehold
VOLUME /var/lib/leasehold
# PostgreSQL never runs as root, and nothing else here needs to.
USER postgres
ENV NODE_ENV=production
# 5432 PostgreSQL of a node, 8008 its agent's API, 6432 the proxy, 6480 the proxy's HTTP
EXPOSE 5432 8008 6432 6480
ENTRYPOINT ["node", "/opt/leasehold/ops/cli.ts"]
CMD ["--help"]
