// A PKCS#11 library with the faults of crossing_faulty_test.go. It has one session. A message is
// answered with 100 bytes of 0xAA, unless its mechanism is one of the faults below.

#include "../cryptoki.h"

#include <string.h>

#define CKR_GENERAL_ERROR 0x05UL
#define CKR_ENCRYPTED_DATA_INVALID 0x40UL
#define CKR_OPERATION_ACTIVE 0x90UL
#define CKR_OPERATION_NOT_INITIALIZED 0x91UL

#ifdef NO_LIST
CK_RV C_GetSomethingElse(void) { return CKR_OK; }
#else

enum {
	SOUND,
	NEVER_ENOUGH, // every buffer is too small
	FORGETFUL,    // CKR_BUFFER_TOO_SMALL ends the operation
	MODEST,       // asks for less than it needs
	BOASTFUL,     // says that it wrote past the end
	LEAKY,        // refuses, and leaves the plaintext in the buffer
	UNTIDY,       // works in the whole buffer
	STUCK,        // as NEVER_ENOUGH, and cannot be cancelled
};

enum { ANSWER = 100 };

static CK_ULONG active; // the mechanism and 1
static int calls;

static CK_RV init(CK_ULONG session, CK_MECHANISM *m, CK_ULONG key)
{
	(void)session, (void)key;
	if (!m) {
		if (active == STUCK + 1)
			return CKR_GENERAL_ERROR;
		active = 0;
		return CKR_OK;
	}
	if (active)
		return CKR_OPERATION_ACTIVE;
	active = m->mechanism + 1;
	return CKR_OK;
}

static CK_RV answer(CK_ULONG mechanism, CK_BYTE *out, CK_ULONG *size)
{
	CK_ULONG room = *size;
	switch (mechanism) {
	case NEVER_ENOUGH:
	case STUCK:
		*size = room + 1;
		return CKR_BUFFER_TOO_SMALL;
	case BOASTFUL:
		*size = room + 1;
		return CKR_OK;
	case LEAKY:
		memset(out, 0xAA, room);
		return CKR_ENCRYPTED_DATA_INVALID;
	}
	*size = mechanism == MODEST ? 1 : ANSWER;
	if (room < ANSWER)
		return CKR_BUFFER_TOO_SMALL;
	memset(out, 0xAA, mechanism == UNTIDY ? room : ANSWER);
	*size = ANSWER;
	return CKR_OK;
}

static CK_RV message(CK_ULONG session, CK_BYTE *in, CK_ULONG inSize, CK_BYTE *out, CK_ULONG *size)
{
	(void)session, (void)inSize;
	if (!active)
		return CKR_OPERATION_NOT_INITIALIZED;
	if (!in || !out)
		return CKR_GENERAL_ERROR;
	CK_RV rv = answer(active - 1, out, size);
	if (rv != CKR_BUFFER_TOO_SMALL || active == FORGETFUL + 1)
		active = 0;
	return rv;
}

static CK_RV wrapKey(CK_ULONG session, CK_MECHANISM *m, CK_ULONG wrapping, CK_ULONG key, CK_BYTE *out, CK_ULONG *size)
{
	(void)session, (void)wrapping, (void)key;
	return answer(m->mechanism, out, size);
}

// getAttributeValue gives the lengths that the type says: for the first call in its low byte, for
// the second in the next.
static CK_RV getAttributeValue(CK_ULONG session, CK_ULONG object, CK_ATTRIBUTE *list, CK_ULONG count)
{
	(void)session, (void)object;
	int shift = 8 * (calls++ % 2);
	for (CK_ULONG i = 0; i < count; i++) {
		CK_ULONG length = list[i].type >> shift & 0xFF;
		list[i].ulValueLen = length == 0xFF ? ~0UL : length;
	}
	return CKR_OK;
}

static CK_RV login(CK_ULONG session, CK_ULONG user, CK_BYTE *pin, CK_ULONG size)
{
	(void)session, (void)user, (void)pin, (void)size;
	return CKR_GENERAL_ERROR;
}

static CK_RV createObject(CK_ULONG session, CK_ATTRIBUTE *list, CK_ULONG count, CK_ULONG *object)
{
	(void)session, (void)list, (void)count, (void)object;
	return CKR_GENERAL_ERROR;
}

static CK_RV verify(CK_ULONG session, CK_BYTE *data, CK_ULONG dataSize, CK_BYTE *signature, CK_ULONG size)
{
	(void)session, (void)data, (void)dataSize, (void)signature, (void)size;
	active = 0;
	return CKR_GENERAL_ERROR;
}

static CK_RV generateRandom(CK_ULONG session, CK_BYTE *out, CK_ULONG size)
{
	(void)session, (void)out, (void)size;
	return CKR_GENERAL_ERROR;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	static CK_FUNCTION_LIST functions = {
		.version = {2, 40},
		.C_Login = login,
		.C_CreateObject = createObject,
		.C_GetAttributeValue = getAttributeValue,
		.C_EncryptInit = init,
		.C_Encrypt = message,
		.C_DecryptInit = init,
		.C_Decrypt = message,
		.C_SignInit = init,
		.C_Sign = message,
		.C_VerifyInit = init,
		.C_Verify = verify,
		.C_WrapKey = wrapKey,
#ifndef GAP
		.C_GenerateRandom = generateRandom,
#endif
	};
	(void)generateRandom;
	*list = &functions;
	return CKR_OK;
}

#endif
