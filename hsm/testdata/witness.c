// A PKCS#11 library that passes every call on to another one, named by -DBEHIND, and writes down those
// that make keys, move them or read them, into the file named by -DLOG: one line for a call, with names
// and values, byte strings in hexadecimal. It is to be used by one thread at a time for a log in the
// order of the calls; with several each line is still whole.

#include "../cryptoki.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CKR_GENERAL_ERROR 0x05UL

#define CKA_TOKEN 0x0001UL
#define CKA_VALUE 0x0011UL
#define CKA_SENSITIVE 0x0103UL
#define CKA_PRIVATE_EXPONENT 0x0123UL
#define CKA_COEFFICIENT 0x0128UL
#define CKA_EXTRACTABLE 0x0162UL

typedef CK_RV generate_key(CK_ULONG, CK_MECHANISM *, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
typedef CK_RV generate_key_pair(CK_ULONG, CK_MECHANISM *, CK_ATTRIBUTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *, CK_ULONG *);
typedef CK_RV unwrap_key(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
typedef CK_RV derive_key(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
typedef CK_RV copy_object(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
typedef CK_RV destroy_object(CK_ULONG, CK_ULONG);
typedef CK_RV set_attribute_value(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);

static CK_FUNCTION_LIST behind, front;
static FILE *out;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

// A line is built up and then written whole.
struct line {
	char *text;
	size_t size;
	FILE *to;
};

static void begin(struct line *l, const char *function, CK_RV rv)
{
	l->to = open_memstream(&l->text, &l->size);
	fprintf(l->to, "%s rv=%lx", function, rv);
}

static void add(struct line *l, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vfprintf(l->to, format, arguments);
	va_end(arguments);
}

static void bytes(struct line *l, const char *name, const CK_BYTE *b, CK_ULONG n)
{
	fprintf(l->to, " %s=", name);
	for (CK_ULONG i = 0; b && i < n; i++)
		fprintf(l->to, "%02x", b[i]);
}

static void end(struct line *l)
{
	fclose(l->to);
	pthread_mutex_lock(&writing);
	fprintf(out, "%s\n", l->text);
	fflush(out);
	pthread_mutex_unlock(&writing);
	free(l->text);
}

// flags writes down what a template says of these attributes.
static void flags(struct line *l, const CK_ATTRIBUTE *list, CK_ULONG count)
{
	for (CK_ULONG i = 0; i < count; i++) {
		const CK_BYTE *value = list[i].pValue;
		if (!value || list[i].ulValueLen != 1)
			continue;
		switch (list[i].type) {
		case CKA_TOKEN:
			add(l, " token=%d", value[0]);
			break;
		case CKA_SENSITIVE:
			add(l, " sensitive=%d", value[0]);
			break;
		case CKA_EXTRACTABLE:
			add(l, " extractable=%d", value[0]);
			break;
		}
	}
}

static int secret(CK_ULONG type)
{
	return type == CKA_VALUE || (type >= CKA_PRIVATE_EXPONENT && type <= CKA_COEFFICIENT);
}

static CK_RV generateKey(CK_ULONG session, CK_MECHANISM *m, CK_ATTRIBUTE *list, CK_ULONG count, CK_ULONG *key)
{
	CK_RV rv = ((generate_key *)behind.C_GenerateKey)(session, m, list, count, key);
	struct line l;
	begin(&l, "C_GenerateKey", rv);
	add(&l, " mechanism=%lx object=%lu", m->mechanism, rv == CKR_OK ? *key : 0);
	flags(&l, list, count);
	end(&l);
	return rv;
}

static CK_RV generateKeyPair(CK_ULONG session, CK_MECHANISM *m, CK_ATTRIBUTE *public, CK_ULONG publics, CK_ATTRIBUTE *private, CK_ULONG privates, CK_ULONG *pub, CK_ULONG *priv)
{
	CK_RV rv = ((generate_key_pair *)behind.C_GenerateKeyPair)(session, m, public, publics, private, privates, pub, priv);
	struct line l;
	begin(&l, "C_GenerateKeyPair", rv);
	add(&l, " mechanism=%lx public=%lu object=%lu", m->mechanism, rv == CKR_OK ? *pub : 0, rv == CKR_OK ? *priv : 0);
	flags(&l, private, privates);
	end(&l);
	return rv;
}

static CK_RV createObject(CK_ULONG session, CK_ATTRIBUTE *list, CK_ULONG count, CK_ULONG *object)
{
	CK_RV rv = behind.C_CreateObject(session, list, count, object);
	struct line l;
	begin(&l, "C_CreateObject", rv);
	add(&l, " object=%lu", rv == CKR_OK ? *object : 0);
	for (CK_ULONG i = 0; i < count; i++)
		if (secret(list[i].type))
			add(&l, " secret=%lx", list[i].type);
	flags(&l, list, count);
	end(&l);
	return rv;
}

static CK_RV copyObject(CK_ULONG session, CK_ULONG object, CK_ATTRIBUTE *list, CK_ULONG count, CK_ULONG *copy)
{
	CK_RV rv = ((copy_object *)behind.C_CopyObject)(session, object, list, count, copy);
	struct line l;
	begin(&l, "C_CopyObject", rv);
	add(&l, " from=%lu object=%lu", object, rv == CKR_OK ? *copy : 0);
	flags(&l, list, count);
	end(&l);
	return rv;
}

static CK_RV destroyObject(CK_ULONG session, CK_ULONG object)
{
	CK_RV rv = ((destroy_object *)behind.C_DestroyObject)(session, object);
	struct line l;
	begin(&l, "C_DestroyObject", rv);
	add(&l, " object=%lu", object);
	end(&l);
	return rv;
}

static CK_RV setAttributeValue(CK_ULONG session, CK_ULONG object, CK_ATTRIBUTE *list, CK_ULONG count)
{
	CK_RV rv = ((set_attribute_value *)behind.C_SetAttributeValue)(session, object, list, count);
	struct line l;
	begin(&l, "C_SetAttributeValue", rv);
	add(&l, " object=%lu", object);
	flags(&l, list, count);
	end(&l);
	return rv;
}

// getAttributeValue writes down only what reads a secret, one line for each attribute. given says how
// many bytes came out of the token, or that it told their number.
static CK_RV getAttributeValue(CK_ULONG session, CK_ULONG object, CK_ATTRIBUTE *list, CK_ULONG count)
{
	CK_RV rv = behind.C_GetAttributeValue(session, object, list, count);
	for (CK_ULONG i = 0; i < count; i++) {
		if (!secret(list[i].type))
			continue;
		struct line l;
		begin(&l, "C_GetAttributeValue", rv);
		add(&l, " object=%lu secret=%lx given=%ld", object, list[i].type, (long)list[i].ulValueLen);
		end(&l);
	}
	return rv;
}

static CK_RV wrapKey(CK_ULONG session, CK_MECHANISM *m, CK_ULONG by, CK_ULONG key, CK_BYTE *wrapped, CK_ULONG *size)
{
	CK_RV rv = behind.C_WrapKey(session, m, by, key, wrapped, size);
	struct line l;
	begin(&l, "C_WrapKey", rv);
	add(&l, " mechanism=%lx by=%lu object=%lu", m->mechanism, by, key);
	if (rv == CKR_OK && wrapped)
		bytes(&l, "out", wrapped, *size);
	end(&l);
	return rv;
}

static CK_RV unwrapKey(CK_ULONG session, CK_MECHANISM *m, CK_ULONG by, CK_BYTE *wrapped, CK_ULONG size, CK_ATTRIBUTE *list, CK_ULONG count, CK_ULONG *key)
{
	CK_RV rv = ((unwrap_key *)behind.C_UnwrapKey)(session, m, by, wrapped, size, list, count, key);
	struct line l;
	begin(&l, "C_UnwrapKey", rv);
	add(&l, " mechanism=%lx by=%lu object=%lu", m->mechanism, by, rv == CKR_OK ? *key : 0);
	bytes(&l, "in", wrapped, size);
	flags(&l, list, count);
	end(&l);
	return rv;
}

static CK_RV deriveKey(CK_ULONG session, CK_MECHANISM *m, CK_ULONG base, CK_ATTRIBUTE *list, CK_ULONG count, CK_ULONG *key)
{
	CK_RV rv = ((derive_key *)behind.C_DeriveKey)(session, m, base, list, count, key);
	struct line l;
	begin(&l, "C_DeriveKey", rv);
	add(&l, " mechanism=%lx from=%lu object=%lu", m->mechanism, base, rv == CKR_OK ? *key : 0);
	flags(&l, list, count);
	end(&l);
	return rv;
}

static CK_RV encryptInit(CK_ULONG session, CK_MECHANISM *m, CK_ULONG key)
{
	CK_RV rv = behind.C_EncryptInit(session, m, key);
	struct line l;
	begin(&l, "C_EncryptInit", rv);
	add(&l, " object=%lu", key);
	end(&l);
	return rv;
}

static CK_RV decryptInit(CK_ULONG session, CK_MECHANISM *m, CK_ULONG key)
{
	CK_RV rv = behind.C_DecryptInit(session, m, key);
	struct line l;
	begin(&l, "C_DecryptInit", rv);
	add(&l, " object=%lu", key);
	end(&l);
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (!out) {
		void *library = dlopen(BEHIND, RTLD_NOW | RTLD_LOCAL);
		kms11_get_function_list *get = library ? (kms11_get_function_list *)dlsym(library, "C_GetFunctionList") : NULL;
		CK_FUNCTION_LIST *real;
		if (!get || get(&real) != CKR_OK || !(out = fopen(LOG, "a")))
			return CKR_GENERAL_ERROR;
		behind = front = *real;
		front.C_GenerateKey = (kms11_other *)generateKey;
		front.C_GenerateKeyPair = (kms11_other *)generateKeyPair;
		front.C_CreateObject = createObject;
		front.C_CopyObject = (kms11_other *)copyObject;
		front.C_DestroyObject = (kms11_other *)destroyObject;
		front.C_SetAttributeValue = (kms11_other *)setAttributeValue;
		front.C_GetAttributeValue = getAttributeValue;
		front.C_WrapKey = wrapKey;
		front.C_UnwrapKey = (kms11_other *)unwrapKey;
		front.C_DeriveKey = (kms11_other *)deriveKey;
		front.C_EncryptInit = encryptInit;
		front.C_DecryptInit = decryptInit;
		front.C_GetFunctionList = (kms11_other *)C_GetFunctionList;
	}
	*list = &front;
	return CKR_OK;
}
