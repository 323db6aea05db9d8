package xks

// ServiceName is what the credential scope of a signed request names (specification, appendix A).
const ServiceName = "kms-xks-proxy"

// The limits of the specification, in bytes of the decoded value unless stated otherwise.
const (
	MaxURIPath            = 128  // characters of XksProxyUriPath
	MaxURI                = 256  // characters of a whole URI
	MaxKeyID              = 128  // characters
	MaxARN                = 2048 // characters
	MaxCiphertextMetadata = 20
	MaxErrorMessage       = 511 // characters: fewer than 512
	MaxFleetDetails       = 10
	MaxKeyUsages          = 10
	TagSize               = 16
	ShortIV               = 12
	LongIV                = 16
)

// The values of version 1.
const (
	AlgorithmAESGCM = "AES_GCM"
	IntegritySHA256 = "SHA_256"
	KeySpecAES256   = "AES_256"
	KeyEnabled      = "ENABLED"
	KeyDisabled     = "DISABLED"
	UsageEncrypt    = "ENCRYPT"
	UsageDecrypt    = "DECRYPT"
	StatusActive    = "ACTIVE"
	StatusDegraded  = "DEGRADED"
	StatusUnavail   = "UNAVAILABLE"
)

// RequestMetadata says for what call of AWS KMS a request is made. Each field is a text of the
// caller's; what is required depends on the operation.
type RequestMetadata struct {
	PrincipalARN string `json:"awsPrincipalArn,omitempty"`
	SourceVPC    string `json:"awsSourceVpc,omitempty"`
	SourceVPCE   string `json:"awsSourceVpce,omitempty"`
	KeyARN       string `json:"kmsKeyArn,omitempty"`
	Operation    string `json:"kmsOperation,omitempty"`
	RequestID    string `json:"kmsRequestId,omitempty"`
	ViaService   string `json:"kmsViaService,omitempty"`
}

// HealthRequest asks for GetHealthStatus; it needs RequestID and Operation.
type HealthRequest struct {
	Metadata RequestMetadata `json:"requestMetadata"`
}

// HealthResponse is what GetHealthStatus answers.
type HealthResponse struct {
	FleetSize int          `json:"xksProxyFleetSize"` // of proxies, from 1
	Vendor    string       `json:"xksProxyVendor"`
	Model     string       `json:"xksProxyModel"`
	EKMVendor string       `json:"ekmVendor"`
	EKMFleet  []EKMDetails `json:"ekmFleetDetails"` // 1 to 10
}

// EKMDetails is one external key manager: a token.
type EKMDetails struct {
	ID     string `json:"id"`
	Model  string `json:"model"`
	Health string `json:"healthStatus"` // ACTIVE, DEGRADED or UNAVAILABLE
}

// MetadataRequest asks for GetKeyMetadata; it needs RequestID, Operation and PrincipalARN.
type MetadataRequest struct {
	Metadata RequestMetadata `json:"requestMetadata"`
}

// MetadataResponse is what GetKeyMetadata answers.
type MetadataResponse struct {
	KeySpec   string   `json:"keySpec"`
	KeyUsage  []string `json:"keyUsage"` // at most 10
	KeyStatus string   `json:"keyStatus"`
}

// EncryptRequest asks for Encrypt; its metadata need KeyARN too.
type EncryptRequest struct {
	Metadata  RequestMetadata `json:"requestMetadata"`
	AAD       []byte          `json:"additionalAuthenticatedData,omitempty"`
	Plaintext []byte          `json:"plaintext"`
	Algorithm string          `json:"encryptionAlgorithm"` // AES_GCM
	// Integrity is SHA_256, or empty for an answer without integrity value.
	Integrity string `json:"ciphertextDataIntegrityValueAlgorithm,omitempty"`
}

// EncryptResponse is what Encrypt answers.
type EncryptResponse struct {
	Ciphertext []byte `json:"ciphertext"`                             // as long as the plaintext
	Metadata   []byte `json:"ciphertextMetadata,omitempty"`           // at most 20 bytes
	IV         []byte `json:"initializationVector"`                   // 12 or 16 bytes
	Tag        []byte `json:"authenticationTag"`                      // 16 bytes
	Integrity  []byte `json:"ciphertextDataIntegrityValue,omitempty"` // see IntegrityValue
}

// DecryptRequest asks for Decrypt; its metadata need KeyARN too.
type DecryptRequest struct {
	Metadata           RequestMetadata `json:"requestMetadata"`
	AAD                []byte          `json:"additionalAuthenticatedData,omitempty"`
	Ciphertext         []byte          `json:"ciphertext"`
	CiphertextMetadata []byte          `json:"ciphertextMetadata,omitempty"`
	Algorithm          string          `json:"encryptionAlgorithm"`
	IV                 []byte          `json:"initializationVector"`
	Tag                []byte          `json:"authenticationTag"`
}

// DecryptResponse is what Decrypt answers.
type DecryptResponse struct {
	Plaintext []byte `json:"plaintext"`
}
