// What crossing.c needs of PKCS#11: OASIS "PKCS #11 Cryptographic Token Interface Base
// Specification Version 2.40", section 3, and its header pkcs11t.h. (CK_GCM_PARAMS is the header's;
// the text of 2.40 leaves ulIvBits out.) CK_INTERFACE is of version 3.0, CK_FUNCTION_LIST_3_2 of 3.2. On Unix the structures have the compiler's own alignment;
// only Windows packs them.

#ifndef KMS11_CRYPTOKI_H
#define KMS11_CRYPTOKI_H

#include "crossing.h"

typedef CK_ULONG CK_RV;

#define CKR_OK 0x00000000UL
#define CKR_FUNCTION_NOT_SUPPORTED 0x00000054UL
#define CKR_BUFFER_TOO_SMALL 0x00000150UL
#define CKM_AES_GCM 0x00001087UL

typedef struct {
	CK_ULONG mechanism;
	void *pParameter;
	CK_ULONG ulParameterLen;
} CK_MECHANISM;

typedef struct {
	CK_ULONG type;
	void *pValue;
	CK_ULONG ulValueLen;
} CK_ATTRIBUTE;

typedef struct {
	CK_BYTE *pIv;
	CK_ULONG ulIvLen;
	CK_ULONG ulIvBits;
	CK_BYTE *pAAD;
	CK_ULONG ulAADLen;
	CK_ULONG ulTagBits;
} CK_GCM_PARAMS;

// C_EncryptInit and its like: session, mechanism, key.
typedef CK_RV kms11_init(CK_ULONG, CK_MECHANISM *, CK_ULONG);
// C_Encrypt and its like: session, input, answer.
typedef CK_RV kms11_message(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
// A function that is not called from here.
typedef void kms11_other(void);

typedef struct {
	struct {
		CK_BYTE major, minor;
	} version;
	kms11_other *C_Initialize, *C_Finalize, *C_GetInfo, *C_GetFunctionList;
	kms11_other *C_GetSlotList, *C_GetSlotInfo, *C_GetTokenInfo, *C_GetMechanismList, *C_GetMechanismInfo;
	kms11_other *C_InitToken, *C_InitPIN, *C_SetPIN;
	kms11_other *C_OpenSession, *C_CloseSession, *C_CloseAllSessions, *C_GetSessionInfo;
	kms11_other *C_GetOperationState, *C_SetOperationState;
	CK_RV (*C_Login)(CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG);
	kms11_other *C_Logout;
	CK_RV (*C_CreateObject)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *);
	kms11_other *C_CopyObject, *C_DestroyObject, *C_GetObjectSize;
	CK_RV (*C_GetAttributeValue)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG);
	kms11_other *C_SetAttributeValue;
	kms11_other *C_FindObjectsInit, *C_FindObjects, *C_FindObjectsFinal;
	kms11_init *C_EncryptInit;
	kms11_message *C_Encrypt;
	kms11_other *C_EncryptUpdate, *C_EncryptFinal;
	kms11_init *C_DecryptInit;
	kms11_message *C_Decrypt;
	kms11_other *C_DecryptUpdate, *C_DecryptFinal;
	kms11_other *C_DigestInit, *C_Digest, *C_DigestUpdate, *C_DigestKey, *C_DigestFinal;
	kms11_init *C_SignInit;
	kms11_message *C_Sign;
	kms11_other *C_SignUpdate, *C_SignFinal, *C_SignRecoverInit, *C_SignRecover;
	kms11_init *C_VerifyInit;
	CK_RV (*C_Verify)(CK_ULONG, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG);
	kms11_other *C_VerifyUpdate, *C_VerifyFinal, *C_VerifyRecoverInit, *C_VerifyRecover;
	kms11_other *C_DigestEncryptUpdate, *C_DecryptDigestUpdate, *C_SignEncryptUpdate, *C_DecryptVerifyUpdate;
	kms11_other *C_GenerateKey, *C_GenerateKeyPair;
	CK_RV (*C_WrapKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ULONG, CK_BYTE *, CK_ULONG *);
	kms11_other *C_UnwrapKey, *C_DeriveKey, *C_SeedRandom;
	CK_RV (*C_GenerateRandom)(CK_ULONG, CK_BYTE *, CK_ULONG);
	kms11_other *C_GetFunctionStatus, *C_CancelFunction, *C_WaitForSlotEvent;
} CK_FUNCTION_LIST;

typedef CK_RV kms11_get_function_list(CK_FUNCTION_LIST **);

// The beginning of CK_FUNCTION_LIST_3_2, which goes on with what is not called from here.
typedef struct {
	CK_FUNCTION_LIST base;
	kms11_other *C_GetInterfaceList, *C_GetInterface, *C_LoginUser, *C_SessionCancel;
	kms11_other *C_MessageEncryptInit, *C_EncryptMessage, *C_EncryptMessageBegin, *C_EncryptMessageNext, *C_MessageEncryptFinal;
	kms11_other *C_MessageDecryptInit, *C_DecryptMessage, *C_DecryptMessageBegin, *C_DecryptMessageNext, *C_MessageDecryptFinal;
	kms11_other *C_MessageSignInit, *C_SignMessage, *C_SignMessageBegin, *C_SignMessageNext, *C_MessageSignFinal;
	kms11_other *C_MessageVerifyInit, *C_VerifyMessage, *C_VerifyMessageBegin, *C_VerifyMessageNext, *C_MessageVerifyFinal;
	CK_RV (*C_EncapsulateKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_BYTE *, CK_ULONG *, CK_ULONG *);
	CK_RV (*C_DecapsulateKey)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_BYTE *, CK_ULONG, CK_ULONG *);
} CK_FUNCTION_LIST_3_2;

typedef struct {
	CK_BYTE *pInterfaceName;
	void *pFunctionList;
	CK_ULONG flags;
} CK_INTERFACE;

typedef struct {
	CK_BYTE major, minor;
} CK_VERSION;

typedef CK_RV kms11_get_interface(CK_BYTE *, CK_VERSION *, CK_INTERFACE **, CK_ULONG);

#endif
