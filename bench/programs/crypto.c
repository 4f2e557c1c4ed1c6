// SPDX-License-Identifier: MIT
//
// OpenSSL's ciphers by a fixed amount of work, in the userland's own libcrypto.
//   crypto aes MIB | sha MIB | rsa SIGNATURES KEY.pem
// The few functions used are declared here, so that the host needs no development package.
#include "common.h"

typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct evp_md_st EVP_MD;
typedef struct evp_pkey_st EVP_PKEY;

EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
const EVP_CIPHER *EVP_aes_128_gcm(void);
int EVP_EncryptInit_ex(EVP_CIPHER_CTX *, const EVP_CIPHER *, void *, const unsigned char *key, const unsigned char *iv);
int EVP_EncryptUpdate(EVP_CIPHER_CTX *, unsigned char *out, int *n, const unsigned char *in, int len);
int EVP_EncryptFinal_ex(EVP_CIPHER_CTX *, unsigned char *out, int *n);
int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *, int type, int arg, void *p);
EVP_MD_CTX *EVP_MD_CTX_new(void);
const EVP_MD *EVP_sha256(void);
int EVP_DigestInit_ex(EVP_MD_CTX *, const EVP_MD *, void *);
int EVP_DigestUpdate(EVP_MD_CTX *, const void *, size_t);
int EVP_DigestFinal_ex(EVP_MD_CTX *, unsigned char *, unsigned *);
int EVP_DigestSignInit(EVP_MD_CTX *, void *, const EVP_MD *, void *, EVP_PKEY *);
int EVP_DigestSign(EVP_MD_CTX *, unsigned char *sig, size_t *len, const unsigned char *, size_t);
EVP_PKEY *PEM_read_PrivateKey(FILE *, EVP_PKEY **, void *, void *);

#define GCM_GET_TAG 0x10
#define BLOCK 16384

static unsigned char data[BLOCK], out[BLOCK + 64];

static unsigned aes(long mib)
{
	static const unsigned char key[16] = "sixteen bytes..", iv[12] = "twelve bytes";
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n;

	EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, iv);
	for (long i = 0; i < mib * (1 << 20) / BLOCK; i++)
		EVP_EncryptUpdate(c, out, &n, data, BLOCK);
	EVP_EncryptFinal_ex(c, out, &n);
	EVP_CIPHER_CTX_ctrl(c, GCM_GET_TAG, 16, out);
	return 16;
}

static unsigned sha(long mib)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	unsigned n = 0;

	EVP_DigestInit_ex(c, EVP_sha256(), NULL);
	for (long i = 0; i < mib * (1 << 20) / BLOCK; i++)
		EVP_DigestUpdate(c, data, BLOCK);
	EVP_DigestFinal_ex(c, out, &n);
	return n;
}

static unsigned rsa(long signatures, const char *file)
{
	FILE *f = fopen(file, "r");
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
	size_t n = 0;

	if (!key)
		die(file);
	for (long i = 0; i < signatures; i++) {
		EVP_MD_CTX *c = EVP_MD_CTX_new();

		n = sizeof(out);
		if (EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) != 1 || EVP_DigestSign(c, out, &n, data, 64) != 1)
			exit(1);
		memcpy(data, out, 64);
	}
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	long n = argument(argc, argv, 2);
	unsigned len;

	for (unsigned i = 0; i < BLOCK; i++)
		data[i] = (unsigned char)(i * 7 + (i >> 8));
	if (!strcmp(argv[1], "rsa"))
		len = rsa(n, argc > 3 ? argv[3] : "");
	else
		len = !strcmp(argv[1], "aes") ? aes(n) : sha(n);
	printf("%s ", argv[1]);
	for (unsigned i = 0; i < len; i++)
		printf("%02x", out[i]);
	putchar('\n');
	return 0;
}
