package hsm

import (
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"
)

// knownPrimes are RSA keys to try tokens with, since generating one takes a token from a fifth of
// a second to several seconds. They are public and protect nothing: they exist as session objects
// for the milliseconds of a trial.
var knownPrimes = []struct {
	bits int
	p, q string
}{
	{2048,
		"fa45371dd7a9fa28a7c59360b0fc8f1c74279ea79cc60038a49a71c04395eb44e41db1bd576e4fe789afb6a928c635f7" +
			"8cb054d8124734e2a39e71db15c418598b5917b9ad56092bc6bec695773731d5128e707968c1f234365bb7cf8e3506cc" +
			"589f59922345c164eeebaf0b2aa80ad7ff495bb2ab122ba2bb8ab9b30160989b",
		"e402f5af5d219ca00f48515313813b724b554a1450fc7e9fd9d48e453b5236528e62246198c2c70735bfdaec0da40cdb" +
			"b08cb3958c2156ff31d6fdaf1978c5c9666324b0197d44f474cdbf05a84c02896e1e84f8f6d252053ee9b771fba07b8b" +
			"86a2167145adeb66aa6d1e98dfda9053eed826ae3b6c1249027c05be053a5e5f",
	},
	{3072,
		"f117685a68f360813d90e995077ee1fc03a3f66ba5e9b24746b6e8e88835de4f166f3f4bf087a59bb4b16898ebd0d2e8" +
			"ec1a25222bfd8a1c35b2498fdaa2a796802ac04417f6dc6f5023024dc9758cc99720cbaaa7224a33742875643c061ebd" +
			"20ea4498abf8a882e0c404a9152fe80f853f22fca988c2bf6d5cb9846bb66f66c65ed96510787eb5b3b3b8425746d40b" +
			"da2f285d2b065170b3bff18d6bfb45ec0178a44035fe8c5f2cf5825b71f187a9751d2a1e7dba2ca2c165beb7026b9ac3",
		"dda70d1524db0453d1baa9ef9a906555fbc4db63d74d98c78e01354d13dedb15c1360a538027377724587c172bc92a8c" +
			"ecfedfb24c9eee874d5665a663640e9f1efa902a371e458c1e622dd6c356450491dd72c70fb3b6d0ec6c4f1822766287" +
			"ec625a2c023855e508c66737d1995ea1093e76d1666aa5adf542a76aa8ebe5f562325801d9350dce4ba63bd1347d76a2" +
			"d043c2079939ddde9909bdd0aaaecec314353360d25b221ae8d5f26000d843edbd8a8dcf790aa2a12a152e1a7f73e1c9",
	},
	{4096,
		"e2ff3a3e64e665faaba643660ed4c7b498ee581b070d3cd5e5a848bdd77b2853000860fc05f554aac47b7fecdcb569e4" +
			"b2042558af9379a367a0eea7fc9907e21c33c7c51d7d30c6168fa81fd5e1c4ec4dc62eb424b44d3e461b041fe156b5fd" +
			"63f5c72e8ab3106011cc82b72ca77ab96d0da90203e5d3a92fe4b1b61352bdaafe295af41834df26f2691d5dcfe3c257" +
			"6d699996eb17df343164c2a9775c4d197906869a8bb3dbfac1b5f730d4ebe1cf177898a866a6a7b0e30021daca4b1a58" +
			"fb70e189d8374a5cc62a75deb445fe921d377ff27366622a0596c2aa8718e8f243658aeae1b96c93a10ce8587f1b06a9" +
			"8daf93353a96d5c8e4f6ac26cfe79861",
		"dc17f4f350c0525504f5ccb65af50d9a2b861417934012140b011cf0f25bc9404d18e8e3cdb85d35dd7f425a05fc879d" +
			"7fa38c0e57b61cccc65ecc54732f8de808a874cdb3c4fc288c798118181b8053e9ba9b2c9b4a5f62d87cbf9f4bb0967f" +
			"2dcb9ddeae4312beadefa93b63beebcf71562bd2f34ddedba2d2e9042a20e79c5e3302b06baae3a8e4ca300df075e4c5" +
			"b0fb3eb67d2c2ce66b4bf9f7f95ff52c5bf919eb393e0885207a9b7a24d6b2af67738c085b9e667a14695a51d1c44e67" +
			"2bc1f1b23640132d722c3df0ddfb544ee0db2ea1ac681a351a5f1227d8d2e2e1eb26a3381e21cd88c7b4d58b0f7117b4" +
			"e57af0ecd7135440acac14de1f8d87b3",
	},
}

// knownRSA gives the attributes of the known private key of a size, and its public half.
func knownRSA(bits int) ([]*attribute, []byte, error) {
	for _, k := range knownPrimes {
		if k.bits != bits {
			continue
		}
		p, q := new(big.Int).SetBytes(unhex(k.p)), new(big.Int).SetBytes(unhex(k.q))
		one, e := big.NewInt(1), new(big.Int).SetBytes(rsaExponent)
		p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
		n, d := new(big.Int).Mul(p, q), new(big.Int).ModInverse(e, new(big.Int).Mul(p1, q1))
		values := []*big.Int{n, e, d, p, q, new(big.Int).Mod(d, p1), new(big.Int).Mod(d, q1), new(big.Int).ModInverse(q, p)}
		var t []*attribute
		for i, v := range values {
			t = append(t, pkcs11.NewAttribute(rsaComponents[i], v.Bytes()))
		}
		return t, writePublic(rsaAlgorithm, rsaPublicKey(n.Bytes(), rsaExponent)), nil
	}
	return nil, nil, fmt.Errorf("no known RSA key of %d bits", bits)
}
