package api

import (
	"encoding/xml"
	"time"

	"github.com/kms11/kms11/ops"
)

// The answers of STS, as its API reference and its SDKs have them.

type responseMetadata struct {
	RequestID string `xml:"RequestId"`
}

type stsCredentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

type assumedRoleUser struct {
	AssumedRoleID string `xml:"AssumedRoleId"`
	ARN           string `xml:"Arn"`
}

// assumed is what AssumeRole and AssumeRoleWithWebIdentity have in common.
type assumed struct {
	SourceIdentity  string `xml:",omitempty"`
	AssumedRoleUser assumedRoleUser
	Credentials     stsCredentials
	PackedPolicy    int `xml:"PackedPolicySize,omitempty"`
}

type assumeRoleResponse struct {
	XMLName   xml.Name         `xml:"AssumeRoleResponse"`
	Namespace string           `xml:"xmlns,attr"`
	Result    assumed          `xml:"AssumeRoleResult"`
	Metadata  responseMetadata `xml:"ResponseMetadata"`
}

type webIdentityResult struct {
	assumed
	SubjectFromWebIdentityToken string
	Audience                    string
	Provider                    string
}

type webIdentityResponse struct {
	XMLName   xml.Name          `xml:"AssumeRoleWithWebIdentityResponse"`
	Namespace string            `xml:"xmlns,attr"`
	Result    webIdentityResult `xml:"AssumeRoleWithWebIdentityResult"`
	Metadata  responseMetadata  `xml:"ResponseMetadata"`
}

type callerIdentityResponse struct {
	XMLName   xml.Name         `xml:"GetCallerIdentityResponse"`
	Namespace string           `xml:"xmlns,attr"`
	ARN       string           `xml:"GetCallerIdentityResult>Arn"`
	UserID    string           `xml:"GetCallerIdentityResult>UserId"`
	Account   string           `xml:"GetCallerIdentityResult>Account"`
	Metadata  responseMetadata `xml:"ResponseMetadata"`
}

type errorAnswer struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func assumedOf(a *ops.AssumedRole) assumed {
	return assumed{
		SourceIdentity:  a.SourceIdentity,
		AssumedRoleUser: assumedRoleUser{AssumedRoleID: a.ID, ARN: a.ARN},
		Credentials: stsCredentials{
			AccessKeyID: a.Credentials.ID, SecretAccessKey: a.Credentials.Secret,
			SessionToken: a.Credentials.Token, Expiration: a.Credentials.Expires.UTC().Format(time.RFC3339),
		},
		PackedPolicy: a.PackedPolicySize,
	}
}

func assumeRoleAnswer(a *ops.AssumedRole, requestID string) assumeRoleResponse {
	return assumeRoleResponse{Namespace: stsNamespace, Result: assumedOf(a), Metadata: responseMetadata{requestID}}
}

func webIdentityAnswer(a *ops.AssumedRole, requestID string) webIdentityResponse {
	return webIdentityResponse{
		Namespace: stsNamespace,
		Result: webIdentityResult{
			assumed: assumedOf(a), SubjectFromWebIdentityToken: a.Subject, Audience: a.Audience, Provider: a.Provider,
		},
		Metadata: responseMetadata{requestID},
	}
}

func callerIdentityAnswer(i ops.CallerIdentity, requestID string) callerIdentityResponse {
	return callerIdentityResponse{
		Namespace: stsNamespace, ARN: i.ARN, UserID: i.UserID, Account: i.Account, Metadata: responseMetadata{requestID},
	}
}
