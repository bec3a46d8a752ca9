# A broker image: slim, not root, configured by KAFKA_* variables as Apache Kafka's own image is. A volume where that one
# has its data (/var/lib/kafka/data) can be written to as well.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY blumfeld ./blumfeld
RUN pip install --no-cache-dir --prefix=/install .

FROM python:3.13-slim
COPY --from=build /install /usr/local
RUN useradd --system --uid 1000 --create-home blumfeld \
    && install -d -o blumfeld -g blumfeld /var/lib/blumfeld /var/lib/kafka/data
USER blumfeld
ENV KAFKA_LOG_DIRS=/var/lib/blumfeld \
    KAFKA_LISTENERS=PLAINTEXT://0.0.0.0:9092 \
    PYTHONUNBUFFERED=1
VOLUME /var/lib/blumfeld
EXPOSE 9092
HEALTHCHECK --interval=5s --timeout=3s --start-period=2s --retries=5 \
    CMD ["blumfeld", "health"]
ENTRYPOINT ["blumfeld", "up"]
