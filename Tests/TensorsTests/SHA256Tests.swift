import CKernels
import Tensors
import Testing

@Suite struct SHA256Tests {
    /// FIPS 180-2, appendix B, and a million times "a".
    @Test func digestsAreThoseOfTheStandard() {
        #expect(sha256Hex("abc".utf8) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        #expect(
            sha256Hex([UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000))
                == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
        #expect(sha256Hex([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    /// Every length around the padding, cut everywhere; the processor's instructions against plain C.
    @Test func everyCutGivesTheSameDigest() {
        func digest(_ pieces: [ArraySlice<UInt8>], plain: Bool) -> [UInt8] {
            var hash = deml_sha256()
            deml_sha256_begin(&hash, plain)
            for piece in pieces { piece.withUnsafeBytes { deml_sha256_update(&hash, $0.baseAddress, $0.count) } }
            var digest = [UInt8](repeating: 0, count: 32)
            deml_sha256_end(&hash, &digest)
            return digest
        }
        for length in 0...200 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ length) }
            let whole = digest([bytes[...]], plain: true)
            for cut in 0...length {
                let pieces = [bytes[..<cut], bytes[cut...]]
                #expect(digest(pieces, plain: false) == whole, "\(length) bytes, cut at \(cut)")
            }
            #expect(digest(bytes.indices.map { bytes[$0...$0] }, plain: true) == whole, "\(length) single bytes")
        }
    }

    @Test func aStreamGoesOnAfterItsDigest() {
        var digest = SHA256Digest()
        digest.update(Array("a".utf8))
        #expect(digest.hex() == sha256Hex("a".utf8))
        digest.update(Array("bc".utf8))
        #expect(digest.hex() == sha256Hex("abc".utf8))
    }
}
