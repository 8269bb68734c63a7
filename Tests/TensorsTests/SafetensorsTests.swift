import Tensors
import TestSupport
import Testing

@Suite struct SafetensorsTests {
    @Test func readsEveryTypeFromPython() throws {
        let file = try Safetensors(contentsOf: fixture("every_type.safetensors"))
        #expect(file.tensors.count == DType.allCases.count)
        let floats: [Float] = (0..<6).map { Float($0) / 2 - 3 }
        for name in ["f64", "f32", "f16", "bf16"] {
            let tensor = try #require(file[name])
            #expect(tensor.dtype.rawValue == name.uppercased())
            #expect(tensor.shape == [2, 3])
            #expect(try tensor.floats() == floats, "\(name)")
        }
        let integers = (0..<6).map { $0 * 7 - 10 }
        for name in ["i64", "i32", "i16", "i8"] {
            #expect(try #require(file[name]).integers() == integers, "\(name)")
        }
        #expect(try #require(file["u8"]).integers() == integers.map { ($0 + 256) % 256 })
        #expect(try #require(file["bool"]).integers() == [0, 1, 0, 1, 0, 1])
    }

    @Test func readsOddNamesFromPython() throws {
        let file = try Safetensors(contentsOf: fixture("odd_names.safetensors"))
        #expect(file.metadata == ["text": "line 1\nline 2 \"quoted\" \u{1} ü 😀"])
        #expect(try #require(file["scalar"]).shape == [])
        #expect(try #require(file["scalar"]).floats() == [1.5])
        #expect(try #require(file["empty"]).shape == [3, 0])
        #expect(try #require(file["quote \" backslash \\ tab \t é 😀"]).integers() == [0, 1, 2])
        #expect(try #require(file[""]).integers() == [0, 1])
    }

    /// What Python writes we write byte for byte, so that Python reads ours as it reads its own.
    @Test(arguments: ["every_type.safetensors", "odd_names.safetensors"])
    func writesWhatPythonWrites(name: String) throws {
        let theirs = try Files.read(fixture(name), maximumBytes: 1 << 20)
        var file = try Safetensors(decoding: theirs)
        #expect(file.encoded() == theirs)
        file.tensors.reverse()
        #expect(file.encoded() == theirs, "the bytes depend on the order of the tensors")
    }

    @Test func readsGzipFromPython() throws {
        let file = try Safetensors(contentsOf: fixture("shard.safetensors.gz"))
        let x = try #require(file["x"])
        #expect(x.shape == [4, 1, 28, 28])
        #expect(try x.integers() == (0..<4 * 784).map { $0 % 251 })
        #expect(try #require(file["y"]).integers() == [3, 1, 4, 1])
    }

    @Test func everyShapeAndTypeSurvives() throws {
        for dtype in DType.allCases {
            for shape in [[], [0], [1], [7], [3, 5], [2, 0, 4], [2, 3, 4, 5]] as [[Int]] {
                let count = shape.reduce(1, *) * dtype.byteCount
                let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
                let tensor = try Tensor(dtype: dtype, shape: shape, bytes: bytes[...])
                let file = Safetensors(tensors: [("b", tensor), ("a", tensor)], metadata: ["k": "v"])
                let back = try Safetensors(decoding: file.encoded())
                #expect(back["a"] == tensor && back["b"] == tensor, "\(dtype) \(shape)")
                #expect(back.metadata == file.metadata)
                let zipped = try Safetensors(storedBytes: try Gzip.compress(file.encoded()))
                #expect(zipped == back, "\(dtype) \(shape)")
            }
        }
    }

    @Test func writesAndReadsFiles() throws {
        try withScratch { folder in
            let file = Safetensors(tensors: [("w", Tensor(shape: [2, 2], floats: [1, 2, 3, 4]))])
            for name in ["plain.safetensors", "packed.safetensors.gz"] {
                let path = "\(folder)/\(name)"
                let digest = try file.write(to: path)
                let loaded = try Safetensors.load(path)
                #expect(loaded.file == file)
                #expect(loaded.sha256 == digest)
                #expect(try Safetensors.digestOfContents(of: path) == digest)
                #expect(try file.write(to: path) == digest, "the second writing gave other bytes")
            }
            #expect(try Files.names(in: folder) == ["packed.safetensors.gz", "plain.safetensors"])
        }
    }

    @Test func tensorsAreAlignedInTheFile() throws {
        let bytes = Safetensors(tensors: [
            ("a", Tensor(shape: [3], bytes: [1, 2, 3])), ("b", Tensor(shape: [1], int64s: [5])),
            ("c", Tensor(shape: [1], floats: [2])),
        ]).encoded()
        for (name, tensor) in try Safetensors(decoding: bytes).tensors {
            #expect(tensor.bytes.startIndex % tensor.dtype.byteCount == 0, "\(name)")
        }
    }

    // MARK: - Hostile input

    static let good = #"{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#

    static let hostile: [(what: String, bytes: [UInt8], code: DeMLError.Code)] = [
        ("empty file", [], .truncated),
        ("seven bytes", [2, 0, 0, 0, 0, 0, 0], .truncated),
        ("no header", rawFile("", length: 0), .malformed),
        ("header beyond the file", rawFile("{}", length: 3), .truncated),
        ("header of 2^64-1 bytes", rawFile("{}", length: .max), .tooLarge),
        ("header above the limit", rawFile("{}", length: 100_000_001), .tooLarge),
        ("no object", rawFile("[]"), .malformed),
        ("text behind the header", rawFile("{} x"), .malformed),
        ("two objects", rawFile("{}{}"), .malformed),
        ("duplicate tensor", rawFile(#"{"a":\#(good),"a":\#(good)}"#, data: 2), .malformed),
        ("duplicate in escapes", rawFile(#"{"a":\#(good),"\u0061":\#(good)}"#, data: 2), .malformed),
        (
            "duplicate dtype", rawFile(#"{"a":{"dtype":"U8","dtype":"I8","shape":[2],"data_offsets":[0,2]}}"#),
            .malformed
        ),
        ("duplicate metadata", rawFile(#"{"__metadata__":{"k":"1","k":"2"}}"#), .malformed),
        ("two metadata", rawFile(#"{"__metadata__":{},"__metadata__":{}}"#), .malformed),
        ("metadata of numbers", rawFile(#"{"__metadata__":{"k":1}}"#), .malformed),
        (
            "overlap", rawFile(#"{"a":\#(good),"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#, data: 3),
            .malformed
        ),
        ("same bytes", rawFile(#"{"a":\#(good),"b":\#(good)}"#, data: 2), .malformed),
        ("gap", rawFile(#"{"a":\#(good),"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}"#, data: 4), .malformed),
        ("gap at the start", rawFile(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, data: 2), .malformed),
        ("data missing", rawFile(#"{"a":\#(good)}"#, data: 1), .truncated),
        ("data left over", rawFile(#"{"a":\#(good)}"#, data: 3), .malformed),
        ("offsets reversed", rawFile(#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[2,0]}}"#, data: 2), .malformed),
        ("shape too large", rawFile(#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}}"#, data: 2), .malformed),
        (
            "product overflows",
            rawFile(#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#), .malformed
        ),
        (
            "bytes overflow", rawFile(#"{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}}"#),
            .malformed
        ),
        (
            "number overflows", rawFile(#"{"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,0]}}"#),
            .malformed
        ),
        (
            "negative dimension", rawFile(#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, data: 1),
            .malformed
        ),
        ("fraction", rawFile(#"{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}"#, data: 1), .malformed),
        ("leading zero", rawFile(#"{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}"#, data: 1), .malformed),
        ("three offsets", rawFile(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#, data: 1), .malformed),
        ("no dtype", rawFile(#"{"a":{"shape":[1],"data_offsets":[0,1]}}"#, data: 1), .malformed),
        ("unknown dtype", rawFile(#"{"a":{"dtype":"U32","shape":[1],"data_offsets":[0,4]}}"#, data: 4), .dtype),
        ("bad escape", rawFile(#"{"\x":1}"#), .malformed),
        ("half a surrogate", rawFile(#"{"\ud800":1}"#), .malformed),
        ("control character", rawFile("{\"\u{1}\":1}"), .malformed),
        ("trailing comma", rawFile(#"{"a":\#(good),}"#, data: 2), .malformed),
        (
            "deep nesting",
            rawFile(#"{"a":{"x":\#(String(repeating: "[", count: 100_000))"#), .malformed
        ),
    ]

    @Test(arguments: hostile.indices)
    func refuses(index: Int) {
        let (what, bytes, code) = Self.hostile[index]
        let error = failure { _ = try Safetensors(decoding: bytes) }
        #expect(error?.code == code, "\(what): \(error?.summary ?? "no error")")
        let zipped = failure { _ = try Safetensors(storedBytes: try Gzip.compress(bytes)) }
        #expect(zipped != nil, "\(what), compressed: no error")
    }

    @Test func refusesInvalidUTF8() {
        var bytes = rawFile("{\"a?\":1}")
        bytes[8 + 3] = 0xff
        let error = failure { _ = try Safetensors(decoding: bytes) }
        #expect(error?.code == .malformed)
        #expect(error?.message.contains("UTF-8") == true)
    }

    @Test func everyTruncationIsRefused() throws {
        let bytes = try Files.read(fixture("every_type.safetensors"), maximumBytes: 1 << 20)
        for count in 0..<bytes.count {
            let error = failure { _ = try Safetensors(decoding: Array(bytes[..<count])) }
            #expect(error?.code == .truncated, "\(count) bytes: \(error?.summary ?? "no error")")
        }
        let packed = try Files.read(fixture("shard.safetensors.gz"), maximumBytes: 1 << 20)
        for count in 0..<packed.count {
            #expect(failure { _ = try Safetensors(storedBytes: Array(packed[..<count])) } != nil, "\(count) bytes")
        }
    }

    @Test func aBombStopsAtWhatTheHeaderPromises() throws {
        let honest = rawFile(#"{"a":\#(Self.good)}"#, data: 2)
        let bomb = try Gzip.compress(honest + [UInt8](repeating: 0, count: 50_000_000))
        #expect(bomb.count < 100_000)
        let error = failure { _ = try Safetensors(storedBytes: bomb) }
        #expect(error?.code == .tooLarge, "\(error?.summary ?? "no error")")

        // A header that promises more than the compressed bytes can hold takes no memory.
        let promise = rawFile(#"{"a":{"dtype":"U8","shape":[4000000000],"data_offsets":[0,4000000000]}}"#, data: 9)
        let liar = failure { _ = try Safetensors(storedBytes: try Gzip.compress(promise)) }
        #expect(liar?.code == .truncated, "\(liar?.summary ?? "no error")")
    }

    @Test func limitsHold() throws {
        let bytes = Safetensors(tensors: [("a", Tensor(shape: [1000], bytes: [UInt8](repeating: 0, count: 1000)))])
            .encoded()
        #expect(failure { _ = try Safetensors(storedBytes: bytes, maximumBytes: 1000) }?.code == .tooLarge)
        let packed = try Gzip.compress(bytes)
        #expect(failure { _ = try Safetensors(storedBytes: packed, maximumBytes: 1000) }?.code == .tooLarge)
        #expect(try Safetensors(storedBytes: packed, maximumBytes: bytes.count)["a"]?.count == 1000)
    }

    @Test func anErrorSaysFileAndTensor() throws {
        try withScratch { folder in
            let path = "\(folder)/bad.safetensors"
            try Files.writeAtomically(
                rawFile(#"{"w\u001b[2J":{"dtype":"U32","shape":[1],"data_offsets":[0,4]}}"#, data: 4), to: path)
            let error = failure { _ = try Safetensors(contentsOf: path) }
            #expect(error?.place == "\(path): tensor 'w\\u{1b}[2J'", "a control character must not reach a terminal")
        }
    }

    @Test func unknownKeysOfAnEntryAreSkipped() throws {
        let header =
            #"{"a":{"dtype":"U8","note":[1,-2.5e3,{"b":[true,false,null,"x"]}],"shape":[2],"data_offsets":[0,2]}}   "#
        #expect(try Safetensors(decoding: rawFile(header, data: 2))["a"]?.integers() == [7, 7])
    }
}
