package xks

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/kms11/kms11/ops"
)

// AdminRequest is a command of the proxy's administrator to the running server, as JSON.
type AdminRequest struct {
	Prefix string `json:"prefix,omitempty"` // of the tenant
	// Of a tenant; nil: as it is.
	RequestsPerSecond *int    `json:"requestsPerSecond,omitempty"`
	Rules             *[]Rule `json:"rules,omitempty"`
	ID                string  `json:"id,omitempty"` // of a key or a credential
	KeyID             string  `json:"keyId,omitempty"`
	Object            string  `json:"object,omitempty"`
	Generate          bool    `json:"generate,omitempty"`
}

// A Rule allows the requests of a tenant that fit each of its lists.
type Rule struct {
	Principals []string `json:"principals,omitempty"`
	KeyARNs    []string `json:"kmsKeyArns,omitempty"`
	Operations []string `json:"kmsOperations,omitempty"`
	SourceVPCs []string `json:"sourceVpcs,omitempty"`
	SourceVPCE []string `json:"sourceVpces,omitempty"`
	Services   []string `json:"viaServices,omitempty"`
	Keys       []string `json:"keys,omitempty"`
}

// TenantInfo is a tenant as it is listed.
type TenantInfo struct {
	Prefix            string    `json:"prefix"`
	URIPath           string    `json:"uriPath"`
	Created           time.Time `json:"created"`
	RequestsPerSecond int       `json:"requestsPerSecond,omitempty"`
	Rules             []Rule    `json:"rules,omitempty"`
}

// CredentialInfo is a credential as it is listed, without its secret.
type CredentialInfo struct {
	AccessKeyID string    `json:"accessKeyId"`
	Prefix      string    `json:"prefix"`
	Created     time.Time `json:"created"`
	Disabled    bool      `json:"disabled,omitempty"`
}

// maxAdminRequest bounds the body of a command, in bytes.
const maxAdminRequest = 1 << 20

// AdminCommands registers the administration of a proxy on the admin socket: POST /xks/... with an
// AdminRequest. origin says who asks, for the audit trail; answer tells the outcome.
func AdminCommands(proxy *ops.Proxy, origin func(*http.Request) ops.Origin, answer func(w http.ResponseWriter, out any, err error)) func(*http.ServeMux) {
	return func(mux *http.ServeMux) {
		for path, command := range adminCommands() {
			mux.HandleFunc("POST /xks/"+path, func(w http.ResponseWriter, r *http.Request) {
				var in AdminRequest
				decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminRequest))
				decoder.DisallowUnknownFields()
				if err := decoder.Decode(&in); err != nil {
					answer(w, nil, errors.New("the request is not an XKS command of this version"))
					return
				}
				out, err := proxy.Administer(origin(r), adminEvents[path], in.told(), func(call *ops.Call) (any, error) {
					return command(r.Context(), proxy, call, &in)
				})
				answer(w, out, err)
			})
		}
	}
}

type adminCommand func(context.Context, *ops.Proxy, *ops.Call, *AdminRequest) (any, error)

// adminEvents are the names of the commands in the audit trail. Nothing writes to it.
var adminEvents = map[string]string{
	"tenant/create":      "CreateXksTenant",
	"tenant/update":      "UpdateXksTenant",
	"tenant/list":        "ListXksTenants",
	"tenant/delete":      "DeleteXksTenant",
	"key/create":         "CreateXksKey",
	"key/list":           "ListXksKeys",
	"key/enable":         "EnableXksKey",
	"key/disable":        "DisableXksKey",
	"key/delete":         "DeleteXksKey",
	"credential/create":  "CreateXksCredential",
	"credential/list":    "ListXksCredentials",
	"credential/enable":  "EnableXksCredential",
	"credential/disable": "DisableXksCredential",
	"credential/delete":  "DeleteXksCredential",
}

// told is what the audit trail shows of a command.
func (in *AdminRequest) told() [][2]string {
	told := [][2]string{{"uriPathPrefix", in.Prefix}, {"id", in.ID}, {"keyId", in.KeyID}, {"object", ops.ShownObject(in.Object)}}
	if in.Generate {
		told = append(told, [2]string{"generate", "true"})
	}
	if in.RequestsPerSecond != nil {
		told = append(told, [2]string{"requestsPerSecond", strconv.Itoa(*in.RequestsPerSecond)})
	}
	if in.Rules != nil {
		rules, err := json.Marshal(*in.Rules)
		if err == nil {
			told = append(told, [2]string{"rules", string(rules)})
		}
	}
	return told
}

// done is the answer of a command that has nothing to say.
type done struct{}

func adminCommands() map[string]adminCommand {
	simple := func(do func(context.Context, *ops.Proxy, *ops.Call, *AdminRequest) error) adminCommand {
		return func(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) (any, error) {
			return done{}, do(ctx, p, call, in)
		}
	}
	return map[string]adminCommand{
		"tenant/create": simple(createTenant),
		"tenant/update": simple(updateTenant),
		"tenant/list":   listTenants,
		"tenant/delete": simple(func(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
			return p.DeleteTenant(ctx, call, in.Prefix)
		}),
		"key/create": createKey,
		"key/list": func(ctx context.Context, p *ops.Proxy, _ *ops.Call, in *AdminRequest) (any, error) {
			return p.KeyFacts(ctx, in.Prefix)
		},
		"key/enable": simple(func(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
			return p.SetKeyDisabled(ctx, call, in.ID, false)
		}),
		"key/disable": simple(func(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
			return p.SetKeyDisabled(ctx, call, in.ID, true)
		}),
		"key/delete": simple(func(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
			return p.DeleteKey(ctx, call, in.ID)
		}),
		"credential/create": createCredential,
		"credential/list":   listCredentials,
		"credential/enable": simple(func(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
			return p.SetCredentialDisabled(ctx, call, in.ID, false)
		}),
		"credential/disable": simple(func(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
			return p.SetCredentialDisabled(ctx, call, in.ID, true)
		}),
		"credential/delete": simple(func(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
			return p.DeleteCredential(ctx, call, in.ID)
		}),
	}
}

func checkPrefix(prefix string) error {
	if prefix == "" || prefix[0] != '/' || !ValidURIPath(URIPathOf(prefix)) {
		return errors.New(`a prefix is "/" or up to 116 letters, digits, "-" and "_" in segments, each behind a "/"`)
	}
	return nil
}

func createTenant(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
	if err := checkPrefix(in.Prefix); err != nil {
		return err
	}
	var settings ops.XksTenantSettings
	in.set(&settings)
	return p.CreateTenant(ctx, call, in.Prefix, settings)
}

func updateTenant(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) error {
	return p.UpdateTenant(ctx, call, in.Prefix, in.set)
}

// set changes what the command says of a tenant's settings.
func (in *AdminRequest) set(settings *ops.XksTenantSettings) {
	if in.RequestsPerSecond != nil {
		settings.RequestsPerSecond = *in.RequestsPerSecond
	}
	if in.Rules != nil {
		settings.Rules = nil
		for _, rule := range *in.Rules {
			settings.Rules = append(settings.Rules, ops.XksRule(rule))
		}
	}
}

func listTenants(ctx context.Context, p *ops.Proxy, _ *ops.Call, _ *AdminRequest) (any, error) {
	records, err := p.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	list := []TenantInfo{}
	for _, r := range records {
		info := TenantInfo{Prefix: r.Prefix, URIPath: URIPathOf(r.Prefix), Created: r.Created, RequestsPerSecond: r.RequestsPerSecond}
		for _, rule := range r.Rules {
			info.Rules = append(info.Rules, Rule(rule))
		}
		list = append(list, info)
	}
	return list, nil
}

func createKey(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) (any, error) {
	switch {
	case !ValidKeyID(in.ID):
		return nil, errors.New(`the id of an external key is 1 to 128 letters, digits, "-", "." and "_"`)
	case (in.KeyID == "") == (in.Object == ""):
		return nil, errors.New("an external key stands for a KMS key or for a key object: name one")
	case in.Generate && in.Object == "":
		return nil, errors.New("only a key object can be generated")
	}
	return p.CreateKey(ctx, call, ops.XksKeyRequest{ID: in.ID, Prefix: in.Prefix, KeyID: in.KeyID, Object: in.Object, Generate: in.Generate})
}

// createCredential answers the file that the AWS KMS console reads.
func createCredential(ctx context.Context, p *ops.Proxy, call *ops.Call, in *AdminRequest) (any, error) {
	key, err := p.CreateCredential(ctx, call, in.Prefix)
	if err != nil {
		return nil, err
	}
	return CredentialFile{URIPath: URIPathOf(in.Prefix), Credential: CredentialFileSecret{AccessKeyID: key.ID, Secret: key.Secret}}, nil
}

func listCredentials(ctx context.Context, p *ops.Proxy, _ *ops.Call, in *AdminRequest) (any, error) {
	records, err := p.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	list := []CredentialInfo{}
	for _, r := range records {
		if in.Prefix == "" || r.Prefix == in.Prefix {
			list = append(list, CredentialInfo{AccessKeyID: r.AccessKeyID, Prefix: r.Prefix, Created: r.Created, Disabled: r.Disabled})
		}
	}
	return list, nil
}
