import Tensors
import TestSupport
import Testing

/// A compressed file whose content is larger than memory is expanded into a file, which is the one that was compressed.
@Suite struct SafetensorsExpansionTests {
    private let file = Safetensors(
        tensors: [
            ("x", Tensor(shape: [3000, 1000], bytes: (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 / 7) })),
            ("y", Tensor(shape: [2], floats: [1, 2])),
        ], metadata: ["a": "b"])

    @Test func contentIsTheSame() throws {
        try withScratch { folder in
            let packed = Files.path(folder, "file.safetensors.gz")
            let expanded = Files.path(folder, "file.tmp")
            let digest = try file.write(to: packed)
            #expect(try Safetensors.expand(packed, to: expanded) == digest)
            #expect(try Files.read(expanded, maximumBytes: .max) == file.encoded())
            let mapped = try Safetensors(contentsOf: expanded, mapping: true)
            // A mapped file needs no name.
            try Files.remove(expanded)
            #expect(try mapped == Safetensors(decoding: file.encoded()))
        }
    }

    @Test func damageIsRefusedAndNothingIsLeft() throws {
        try withScratch { folder in
            let packed = Files.path(folder, "file.safetensors.gz")
            let whole = try Gzip.compress(file.encoded())
            var changed = whole
            changed[whole.count - 6] ^= 1
            let cases: [(String, [UInt8], DeMLError.Code)] = [
                ("cut", Array(whole.prefix(whole.count / 2)), .truncated),
                ("cut in the header", Array(whole.prefix(30)), .truncated),
                ("changed checksum", changed, .malformed),
                ("longer", try Gzip.compress(file.encoded() + [0]), .tooLarge),
                ("shorter", try Gzip.compress(Array(file.encoded().dropLast())), .truncated),
                ("not gzip", file.encoded(), .malformed),
                (
                    "a promise of too much",
                    try Gzip.compress(
                        rawFile(
                            #"{"x":{"dtype":"U8","shape":[1000000000000],"data_offsets":[0,1000000000000]}}"#)),
                    .truncated
                ),
            ]
            for (name, bytes, code) in cases {
                try Files.writeAtomically(bytes, to: packed)
                let error = failure { try Safetensors.expand(packed, to: Files.path(folder, "file.tmp")) }
                #expect(error?.code == code, "\(name): \(error as Any)")
                #expect(try Files.names(in: folder) == ["file.safetensors.gz"], "\(name)")
            }
        }
    }
}
