# docker build -t mftscreen . && docker run --rm -v "$PWD:/work" mftscreen \
#     mftscreen rank candidates.db --property dielectric
FROM python:3.12-slim
WORKDIR /opt/mftscreen
COPY pyproject.toml README.md LICENSE ./
COPY mftscreen mftscreen
COPY recipes recipes
RUN pip install --no-cache-dir ".[molecules,report,sevenn]"
RUN useradd --create-home user
USER user
WORKDIR /work
CMD ["mftscreen", "--help"]
