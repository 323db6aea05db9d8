// A PKCS#11 library that forwards to another one and fails now and then, for tests of what kms11
// makes of a token's bad days. Beside it lie, under its own name with an ending, ".real", the library
// that it forwards to, and ".control", a file that it shares with the test in memory: see struct
// control. A second copy of all three is a library with a state of its own.
//
// A call that fails is not forwarded, so a failure changes nothing in the token.

#define _GNU_SOURCE // for dladdr

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long CK_ULONG;
typedef unsigned char CK_BYTE;
typedef CK_ULONG CK_RV;

#define CKR_OK 0x00UL
#define CKR_HOST_MEMORY 0x02UL
#define CKR_GENERAL_ERROR 0x05UL
#define CKR_DEVICE_ERROR 0x30UL
#define CKR_DEVICE_REMOVED 0x32UL
#define CKR_PIN_INCORRECT 0xA0UL
#define CKR_SESSION_COUNT 0xB1UL
#define CKR_SESSION_HANDLE_INVALID 0xB3UL
#define CKR_TOKEN_NOT_PRESENT 0xE0UL
#define CKR_USER_NOT_LOGGED_IN 0x101UL

// The shared file: 64-bit numbers in the machine's byte order. The first five are the test's.
struct control {
	_Atomic uint64_t faults;  // calls of a million that fail
	_Atomic uint64_t hangs;   // calls of a million that hang
	_Atomic uint64_t hangFor; // milliseconds, at most: a hang ends when this gets 0
	_Atomic uint64_t dead;    // not 0: the token is away
	_Atomic uint64_t lies;    // not 0: what C_Encrypt and C_Sign give has a wrong byte
	_Atomic uint64_t calls, failed, hung;
	_Atomic uint64_t logins, refusedPINs;
	_Atomic uint64_t sessions, objects; // open, and alive in them
	_Atomic uint64_t restarts;          // calls of C_Finalize
};

// The function list of PKCS#11 2.40 (pkcs11f.h), as numbered pointers behind the version.
enum {
	INITIALIZE, FINALIZE, GET_INFO, GET_FUNCTION_LIST, GET_SLOT_LIST, GET_SLOT_INFO, GET_TOKEN_INFO,
	GET_MECHANISM_LIST, GET_MECHANISM_INFO, INIT_TOKEN, INIT_PIN, SET_PIN, OPEN_SESSION, CLOSE_SESSION,
	CLOSE_ALL_SESSIONS, GET_SESSION_INFO, GET_OPERATION_STATE, SET_OPERATION_STATE, LOGIN, LOGOUT,
	CREATE_OBJECT, COPY_OBJECT, DESTROY_OBJECT, GET_OBJECT_SIZE, GET_ATTRIBUTE_VALUE, SET_ATTRIBUTE_VALUE,
	FIND_OBJECTS_INIT, FIND_OBJECTS, FIND_OBJECTS_FINAL, ENCRYPT_INIT, ENCRYPT, ENCRYPT_UPDATE,
	ENCRYPT_FINAL, DECRYPT_INIT, DECRYPT, DECRYPT_UPDATE, DECRYPT_FINAL, DIGEST_INIT, DIGEST,
	DIGEST_UPDATE, DIGEST_KEY, DIGEST_FINAL, SIGN_INIT, SIGN, SIGN_UPDATE, SIGN_FINAL,
	SIGN_RECOVER_INIT, SIGN_RECOVER, VERIFY_INIT, VERIFY, VERIFY_UPDATE, VERIFY_FINAL,
	VERIFY_RECOVER_INIT, VERIFY_RECOVER, DIGEST_ENCRYPT_UPDATE, DECRYPT_DIGEST_UPDATE,
	SIGN_ENCRYPT_UPDATE, DECRYPT_VERIFY_UPDATE, GENERATE_KEY, GENERATE_KEY_PAIR, WRAP_KEY, UNWRAP_KEY,
	DERIVE_KEY, SEED_RANDOM, GENERATE_RANDOM, GET_FUNCTION_STATUS, CANCEL_FUNCTION,
	WAIT_FOR_SLOT_EVENT, FUNCTIONS
};

struct functions {
	struct {
		CK_BYTE major, minor;
	} version;
	void *list[FUNCTIONS];
};

// Handles are small numbers that count up, so they index these tables. Objects of the token itself
// are counted as those of the session that made them.
enum { SESSIONS = 1 << 16, OBJECTS = 1 << 22 };
static _Atomic uint32_t owner[OBJECTS];    // the session that made an object
static _Atomic uint64_t alive[SESSIONS];   // objects of a session
static _Atomic uint8_t isOpen[SESSIONS];

static const struct functions *real;
static struct functions ours;
static struct control *control;

// roll is a number below a million. Each thread has its own sequence (xorshift64*).
static uint64_t roll(void)
{
	static _Thread_local uint64_t state;
	static _Atomic uint64_t seeds = 0x9E3779B97F4A7C15u;
	if (!state)
		state = atomic_fetch_add(&seeds, 0x9E3779B97F4A7C15u);
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545F4914F6CDD1Du >> 32) % 1000000;
}

static void hang(void)
{
	const struct timespec tick = {0, 10000000};
	atomic_fetch_add(&control->hung, 1);
	for (uint64_t waited = 0; waited < control->hangFor; waited += 10)
		nanosleep(&tick, NULL);
}

// trouble says what a call answers instead of being forwarded, or CKR_OK. A call that opens no
// session never lacks one.
static CK_RV trouble(int function)
{
	static const CK_RV codes[] = {
		CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_TOKEN_NOT_PRESENT, CKR_SESSION_HANDLE_INVALID,
		CKR_USER_NOT_LOGGED_IN, CKR_HOST_MEMORY,
	};
	atomic_fetch_add(&control->calls, 1);
	if (control->dead)
		return CKR_DEVICE_REMOVED;
	if (control->hangs && roll() < control->hangs)
		hang();
	if (!control->faults || roll() >= control->faults)
		return CKR_OK;
	atomic_fetch_add(&control->failed, 1);
	if (function == OPEN_SESSION)
		return roll() % 2 ? CKR_SESSION_COUNT : CKR_DEVICE_ERROR;
	return codes[roll() % (sizeof codes / sizeof *codes)];
}

// All arguments of the functions that are forwarded with a chance to fail are CK_ULONGs and
// pointers, so one type stands for each number of them.
typedef CK_ULONG A;
#define FORWARD2(name, index) \
	static CK_RV name(A a, A b) { CK_RV rv = trouble(index); return rv ? rv : ((CK_RV(*)(A, A))real->list[index])(a, b); }
#define FORWARD3(name, index) \
	static CK_RV name(A a, A b, A c) { CK_RV rv = trouble(index); return rv ? rv : ((CK_RV(*)(A, A, A))real->list[index])(a, b, c); }
#define FORWARD4(name, index) \
	static CK_RV name(A a, A b, A c, A d) { CK_RV rv = trouble(index); return rv ? rv : ((CK_RV(*)(A, A, A, A))real->list[index])(a, b, c, d); }
#define FORWARD5(name, index) \
	static CK_RV name(A a, A b, A c, A d, A e) { CK_RV rv = trouble(index); return rv ? rv : ((CK_RV(*)(A, A, A, A, A))real->list[index])(a, b, c, d, e); }
#define FORWARD6(name, index) \
	static CK_RV name(A a, A b, A c, A d, A e, A f) { CK_RV rv = trouble(index); return rv ? rv : ((CK_RV(*)(A, A, A, A, A, A))real->list[index])(a, b, c, d, e, f); }

FORWARD2(getTokenInfo, GET_TOKEN_INFO)
FORWARD2(getSessionInfo, GET_SESSION_INFO)
FORWARD4(getAttributeValue, GET_ATTRIBUTE_VALUE)
FORWARD4(setAttributeValue, SET_ATTRIBUTE_VALUE)
FORWARD3(findObjectsInit, FIND_OBJECTS_INIT)
FORWARD4(findObjects, FIND_OBJECTS)
FORWARD3(encryptInit, ENCRYPT_INIT)
FORWARD3(decryptInit, DECRYPT_INIT)
FORWARD5(decrypt, DECRYPT)
FORWARD3(signInit, SIGN_INIT)

// answer forwards C_Encrypt and C_Sign, and lies where it should.
static CK_RV answer(int function, A a, A b, A c, A out, A size)
{
	CK_RV rv = trouble(function);
	if (rv)
		return rv;
	rv = ((CK_RV(*)(A, A, A, A, A))real->list[function])(a, b, c, out, size);
	if (rv == CKR_OK && control->lies && out)
		((CK_BYTE *)out)[*(CK_ULONG *)size - 1] ^= 1;
	return rv;
}

static CK_RV encrypt(A a, A b, A c, A d, A e) { return answer(ENCRYPT, a, b, c, d, e); }
static CK_RV sign(A a, A b, A c, A d, A e) { return answer(SIGN, a, b, c, d, e); }

FORWARD3(verifyInit, VERIFY_INIT)
FORWARD5(verify, VERIFY)
FORWARD6(wrapKey, WRAP_KEY)
FORWARD3(generateRandom, GENERATE_RANDOM)

static void born(A session, A object)
{
	owner[object % OBJECTS] = (uint32_t)session;
	atomic_fetch_add(&alive[session % SESSIONS], 1);
	atomic_fetch_add(&control->objects, 1);
}

static CK_RV openSession(A slot, A flags, A application, A notify, A session)
{
	CK_RV rv = trouble(OPEN_SESSION);
	if (rv)
		return rv;
	rv = ((CK_RV(*)(A, A, A, A, A))real->list[OPEN_SESSION])(slot, flags, application, notify, session);
	if (rv == CKR_OK) {
		isOpen[*(CK_ULONG *)session % SESSIONS] = 1;
		atomic_fetch_add(&control->sessions, 1);
	}
	return rv;
}

// closeSession always works as far as the library lets it: a session that cannot be closed is one
// that nobody can be blamed for.
static CK_RV closeSession(A session)
{
	atomic_fetch_add(&control->calls, 1);
	CK_RV rv = ((CK_RV(*)(A))real->list[CLOSE_SESSION])(session);
	if (rv == CKR_OK && atomic_exchange(&isOpen[session % SESSIONS], 0)) {
		atomic_fetch_sub(&control->sessions, 1);
		atomic_fetch_sub(&control->objects, atomic_exchange(&alive[session % SESSIONS], 0));
	}
	return rv;
}

static CK_RV finalize(A reserved)
{
	atomic_fetch_add(&control->restarts, 1);
	CK_RV rv = ((CK_RV(*)(A))real->list[FINALIZE])(reserved);
	memset((void *)alive, 0, sizeof alive);
	memset((void *)isOpen, 0, sizeof isOpen);
	control->sessions = control->objects = 0;
	return rv;
}

static CK_RV login(A session, A user, A pin, A size)
{
	CK_RV rv = trouble(LOGIN);
	if (rv)
		return rv;
	atomic_fetch_add(&control->logins, 1);
	rv = ((CK_RV(*)(A, A, A, A))real->list[LOGIN])(session, user, pin, size);
	if (rv == CKR_PIN_INCORRECT)
		atomic_fetch_add(&control->refusedPINs, 1);
	return rv;
}

// MAKE forwards a function whose last argument gets a new object.
#define MAKE(name, index, last, parameters, types, arguments) \
	static CK_RV name parameters \
	{ \
		CK_RV rv = trouble(index); \
		if (rv) \
			return rv; \
		rv = ((CK_RV(*)types)real->list[index])arguments; \
		if (rv == CKR_OK) \
			born(a, *(CK_ULONG *)last); \
		return rv; \
	}

MAKE(createObject, CREATE_OBJECT, d, (A a, A b, A c, A d), (A, A, A, A), (a, b, c, d))
MAKE(copyObject, COPY_OBJECT, e, (A a, A b, A c, A d, A e), (A, A, A, A, A), (a, b, c, d, e))
MAKE(generateKey, GENERATE_KEY, e, (A a, A b, A c, A d, A e), (A, A, A, A, A), (a, b, c, d, e))
MAKE(unwrapKey, UNWRAP_KEY, h, (A a, A b, A c, A d, A e, A f, A g, A h), (A, A, A, A, A, A, A, A), (a, b, c, d, e, f, g, h))
MAKE(deriveKey, DERIVE_KEY, f, (A a, A b, A c, A d, A e, A f), (A, A, A, A, A, A), (a, b, c, d, e, f))

static CK_RV generateKeyPair(A a, A b, A c, A d, A e, A f, A g, A h)
{
	CK_RV rv = trouble(GENERATE_KEY_PAIR);
	if (rv)
		return rv;
	rv = ((CK_RV(*)(A, A, A, A, A, A, A, A))real->list[GENERATE_KEY_PAIR])(a, b, c, d, e, f, g, h);
	if (rv == CKR_OK) {
		born(a, *(CK_ULONG *)g);
		born(a, *(CK_ULONG *)h);
	}
	return rv;
}

static CK_RV destroyObject(A session, A object)
{
	CK_RV rv = trouble(DESTROY_OBJECT);
	if (rv)
		return rv;
	rv = ((CK_RV(*)(A, A))real->list[DESTROY_OBJECT])(session, object);
	if (rv == CKR_OK) {
		atomic_fetch_sub(&alive[owner[object % OBJECTS] % SESSIONS], 1);
		atomic_fetch_sub(&control->objects, 1);
	}
	return rv;
}

static const struct {
	int index;
	void *function;
} wrapped[] = {
	{FINALIZE, finalize}, {GET_TOKEN_INFO, getTokenInfo}, {OPEN_SESSION, openSession}, {CLOSE_SESSION, closeSession},
	{GET_SESSION_INFO, getSessionInfo}, {LOGIN, login}, {CREATE_OBJECT, createObject},
	{COPY_OBJECT, copyObject}, {DESTROY_OBJECT, destroyObject}, {GET_ATTRIBUTE_VALUE, getAttributeValue},
	{SET_ATTRIBUTE_VALUE, setAttributeValue}, {FIND_OBJECTS_INIT, findObjectsInit},
	{FIND_OBJECTS, findObjects}, {ENCRYPT_INIT, encryptInit}, {ENCRYPT, encrypt},
	{DECRYPT_INIT, decryptInit}, {DECRYPT, decrypt}, {SIGN_INIT, signInit}, {SIGN, sign},
	{VERIFY_INIT, verifyInit}, {VERIFY, verify}, {GENERATE_KEY, generateKey},
	{GENERATE_KEY_PAIR, generateKeyPair}, {WRAP_KEY, wrapKey}, {UNWRAP_KEY, unwrapKey},
	{DERIVE_KEY, deriveKey}, {GENERATE_RANDOM, generateRandom},
};

// beside gives the path of a file beside this library, for the caller to free.
static char *beside(const char *ending)
{
	Dl_info self;
	if (!dladdr(&ours, &self))
		return NULL;
	char *path = malloc(strlen(self.dli_fname) + strlen(ending) + 1);
	return path ? strcat(strcpy(path, self.dli_fname), ending) : NULL;
}

static int openControl(void)
{
	char *path = beside(".control");
	int file = path ? open(path, O_RDWR) : -1;
	free(path);
	if (file < 0)
		return 0;
	void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (shared == MAP_FAILED)
		return 0;
	control = shared;
	return 1;
}

CK_RV C_GetFunctionList(struct functions **list)
{
	if (real) {
		*list = &ours;
		return CKR_OK;
	}
	char *path = beside(".real");
	void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	free(path);
	if (!module || !openControl())
		return CKR_GENERAL_ERROR;
	CK_RV (*get)(const struct functions **);
	*(void **)&get = dlsym(module, "C_GetFunctionList");
	const struct functions *found = NULL;
	if (!get || get(&found) != CKR_OK)
		return CKR_GENERAL_ERROR;
	ours = *found;
	for (size_t i = 0; i < sizeof wrapped / sizeof *wrapped; i++)
		ours.list[wrapped[i].index] = wrapped[i].function;
	real = found;
	*list = &ours;
	return CKR_OK;
}
