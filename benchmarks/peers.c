/* The bench's measure of what the machine can do: convert, parse and render in plain C, compiled by the bench.

   peers convert IN OUT TABLE [hash]        one byte for one, by a file of 256; with SHA-256 of both sides, in two threads
   peers parse IN STRIDE SPEC THREADS       fixed records into typed arrays; SPEC: "t 1 36;d 37 8;..." (kind, at, length)
   peers render IN STRIDE SPEC OUT          the same arrays back into records

   Kinds: t text (trailing blanks off), g digits kept as text, d date YYYYMMDD, n number with a leading minus.
   Prints the seconds that the work took. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_OPENSSL
#include <openssl/evp.h>
#endif

#define CHUNK (1 << 20)
#define FIELDS 64
#define BLOCK 8192

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

/* --- convert */

typedef struct { uint8_t *data; size_t size; void *md; } Hashing;

static void *hash_chunk(void *p) {
#ifdef HAVE_OPENSSL
  Hashing *h = p;
  EVP_DigestUpdate((EVP_MD_CTX *)h->md, h->data, h->size);
#else
  (void)p;
#endif
  return NULL;
}

static int convert(char **v, int hashed) {
  uint8_t table[256];
  FILE *t = fopen(v[4], "rb"), *in = fopen(v[2], "rb"), *out = fopen(v[3], "wb");
  if (!t || !in || !out || fread(table, 1, 256, t) != 256) return 2;
  setvbuf(in, NULL, _IONBF, 0);
  setvbuf(out, NULL, _IONBF, 0);
  uint8_t *a = malloc(CHUNK), *b = malloc(CHUNK);
  size_t n;
  Hashing left = {a, 0, NULL}, right = {b, 0, NULL};
#ifdef HAVE_OPENSSL
  left.md = EVP_MD_CTX_new();
  right.md = EVP_MD_CTX_new();
  EVP_DigestInit_ex(left.md, EVP_sha256(), NULL);
  EVP_DigestInit_ex(right.md, EVP_sha256(), NULL);
#endif
  while ((n = fread(a, 1, CHUNK, in)) > 0) {
    for (size_t k = 0; k < n; k++) b[k] = table[a[k]];
    if (hashed) {
      pthread_t thread;
      left.size = right.size = n;
      pthread_create(&thread, NULL, hash_chunk, &left);
      hash_chunk(&right);
      pthread_join(thread, NULL);
    }
    if (fwrite(b, 1, n, out) != n) return 2;
  }
  return fclose(out) ? 2 : 0;
}

/* --- parse */

typedef struct { char kind; int at, length; } Field;
typedef struct {
  uint8_t *text;
  int32_t *offsets;
  int64_t *numbers;
} Column;
typedef struct { const uint8_t *data; size_t records, stride; int fields; Field *spec; long bad, sum; } Part;

static int spec_of(const char *text, Field *spec) {
  int n = 0;
  for (const char *p = text; p && *p && n < FIELDS; n++) {
    sscanf(p, "%c %d %d", &spec[n].kind, &spec[n].at, &spec[n].length);
    p = strchr(p, ';');
    if (p) p++;
  }
  return n;
}

static int64_t days(int y, int m, int d) {
  y -= m <= 2;
  int64_t era = y / 400, yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void field(const uint8_t *cell, const Field *f, Column *c, size_t row, long *bad) {
  if (f->kind == 't' || f->kind == 'g') {
    int length = f->length;
    while (length && cell[length - 1] == ' ') length--;
    if (f->kind == 'g')
      for (int k = 0; k < length; k++) *bad += (uint8_t)(cell[k] - '0') > 9;
    memcpy(c->text + c->offsets[row], cell, length);
    c->offsets[row + 1] = c->offsets[row] + length;
    return;
  }
  int negative = f->kind == 'n' && cell[0] == '-';
  int64_t value = 0;
  int wrong = 0;
  for (int k = negative; k < f->length; k++) {
    uint8_t digit = cell[k] - '0';
    wrong |= digit > 9;
    value = value * 10 + digit;
  }
  if (f->kind == 'd') {
    int y = value / 10000, m = value / 100 % 100, d = value % 100;
    static const int longest[13] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    wrong |= m < 1 || m > 12 || d < 1 || d > longest[m > 12 ? 12 : m];
    value = wrong ? 0 : days(y, m, d);
  }
  *bad += wrong;
  c->numbers[row] = negative ? -value : value;
}

static void *parse_part(void *p) {
  Part *part = p;
  Column columns[FIELDS];
  for (int k = 0; k < part->fields; k++) {
    columns[k].text = malloc((size_t)BLOCK * part->spec[k].length + 16);
    columns[k].offsets = calloc(BLOCK + 1, sizeof(int32_t));
    columns[k].numbers = malloc(BLOCK * sizeof(int64_t));
  }
  for (size_t first = 0; first < part->records; first += BLOCK) {
    size_t n = part->records - first < BLOCK ? part->records - first : BLOCK;
    for (size_t row = 0; row < n; row++) {
      const uint8_t *record = part->data + (first + row) * part->stride;
      for (int k = 0; k < part->fields; k++)
        field(record + part->spec[k].at - 1, &part->spec[k], &columns[k], row, &part->bad);
    }
    part->sum += columns[0].offsets[n];
  }
  return NULL;
}

static int parse(char **v) {
  int in = open(v[2], O_RDONLY), threads = atoi(v[5]);
  struct stat st;
  Field spec[FIELDS];
  Part parts[8] = {0};
  pthread_t running[8];
  if (in < 0 || fstat(in, &st) || threads < 1 || threads > 8) return 2;
  uint8_t *data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, in, 0);
  size_t stride = atol(v[3]), records = st.st_size / stride, done = 0;
  int fields = spec_of(v[4], spec);
  for (int k = 0; k < threads; k++) {
    size_t n = k == threads - 1 ? records - done : records / threads;
    parts[k] = (Part){data + done * stride, n, stride, fields, spec, 0, 0};
    done += n;
    pthread_create(&running[k], NULL, parse_part, &parts[k]);
  }
  long bad = 0;
  for (int k = 0; k < threads; k++) {
    pthread_join(running[k], NULL);
    bad += parts[k].bad;
  }
  fprintf(stderr, "%zu records, %ld bad\n", records, bad);
  return 0;
}

/* --- render */

static void digits(uint8_t *out, int64_t value, int length) {
  int negative = value < 0;
  uint64_t rest = negative ? -value : value;
  for (int k = length - 1; k >= 0; k--) {
    out[k] = '0' + rest % 10;
    rest /= 10;
  }
  if (negative) out[0] = '-';
}

static void date(uint8_t *out, int64_t z) {
  z += 719468;
  int64_t era = z / 146097, doe = z - era * 146097, yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
  int d = doy - (153 * mp + 2) / 5 + 1, m = mp < 10 ? mp + 3 : mp - 9;
  digits(out, (yoe + era * 400 + (m <= 2)) * 10000 + m * 100 + d, 8);
}

static int render(char **v, double *began) {
  int in = open(v[2], O_RDONLY);
  struct stat st;
  Field spec[FIELDS];
  Column columns[FIELDS];
  if (in < 0 || fstat(in, &st)) return 2;
  uint8_t *data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, in, 0);
  size_t stride = atol(v[3]), records = st.st_size / stride;
  int fields = spec_of(v[4], spec);
  long bad = 0;
  for (int k = 0; k < fields; k++) {
    columns[k].text = malloc(records * spec[k].length + 16);
    columns[k].offsets = calloc(records + 1, sizeof(int32_t));
    columns[k].numbers = malloc(records * sizeof(int64_t));
    for (size_t row = 0; row < records; row++) field(data + row * stride + spec[k].at - 1, &spec[k], &columns[k], row, &bad);
  }
  FILE *out = fopen(v[5], "wb");
  setvbuf(out, NULL, _IONBF, 0);
  uint8_t *block = malloc(BLOCK * stride);
  *began = now();
  for (size_t first = 0; first < records; first += BLOCK) {
    size_t n = records - first < BLOCK ? records - first : BLOCK;
    memset(block, ' ', n * stride);
    for (size_t row = 0; row < n; row++) {
      uint8_t *record = block + row * stride;
      for (int k = 0; k < fields; k++) {
        Column *c = &columns[k];
        uint8_t *cell = record + spec[k].at - 1;
        if (spec[k].kind == 'n') digits(cell, c->numbers[first + row], spec[k].length);
        else if (spec[k].kind == 'd') date(cell, c->numbers[first + row]);
        else {
          int32_t from = c->offsets[first + row], length = c->offsets[first + row + 1] - from;
          if (length > spec[k].length) bad++;
          memcpy(cell, c->text + from, length);
        }
      }
      record[stride - 1] = '\n';
    }
    if (fwrite(block, 1, n * stride, out) != n * stride) return 2;
  }
  return fclose(out) ? 2 : 0;
}

int main(int n, char **v) {
  double began = now();
  int code = 2;
  if (n > 4 && !strcmp(v[1], "convert")) code = convert(v, n > 5);
  else if (n > 5 && !strcmp(v[1], "parse")) code = parse(v);
  else if (n > 5 && !strcmp(v[1], "render")) code = render(v, &began);
  double seconds = now() - began;
  long peak = 0;
  char line[256];
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status)) sscanf(line, "VmHWM: %ld", &peak);
  printf("{\"seconds\": %.6f, \"peak\": %.1f}\n", seconds, peak / 1024.0);
  return code;
}
