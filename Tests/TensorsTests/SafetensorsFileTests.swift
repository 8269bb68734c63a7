import Tensors
import TestSupport
import Testing

/// Tensors that are read from their file by rows.
@Suite struct SafetensorsFileTests {
    @Test func rowsAreThoseOfTheTensor() throws {
        try withScratch { folder in
            let path = Files.path(folder, "a.safetensors")
            let x = Tensor(shape: [9, 2, 3], int64s: (0..<54).map { $0 * $0 - 20 })
            let y = Tensor(shape: [9], bytes: Array(0..<9))
            let sha256 = try Safetensors(tensors: [("x", x), ("y", y)], metadata: ["a": "b"]).write(to: path)
            let file = try SafetensorsFile(path)
            #expect(file.metadata == ["a": "b"])
            #expect(file.tensors.map(\.name) == ["x", "y"])
            #expect(file["z"] == nil)
            #expect(try file.sha256() == sha256)
            let stored = try #require(file["x"])
            #expect(stored.dtype == .i64 && stored.shape == [9, 2, 3] && stored.rowBytes == 48)
            for range in [0..<9, 0..<0, 9..<9, 3..<5, 8..<9] { #expect(try stored.rows(range) == x.rows(range)) }
            #expect(try file["y"]?.rows(2..<7) == y.rows(2..<7))
            for rows in [[0], [8, 7, 6], [2, 3, 4, 0, 1, 8, 8, 8], [5, 6, 7, 8], []] {
                var bytes = [UInt8](repeating: 0xff, count: rows.count * 48)
                try bytes.withUnsafeMutableBytes { room in
                    try rows.map { Int64($0) }.withUnsafeBufferPointer { try stored.gatherRows($0, into: room) }
                }
                #expect(bytes == Array(x.gatherRows(rows).bytes), "\(rows)")
            }
        }
    }

    /// What is wrong with a file is found and told as when it is read whole.
    @Test func aDamagedFileIsRefusedAsWhenItIsRead() throws {
        let tensors = #"{"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#
        let files: [[UInt8]] = [
            [], [1, 2, 3], rawFile(tensors, data: 3), rawFile(tensors, data: 5),
            rawFile(tensors, data: 4, length: 1 << 40),
            rawFile(tensors, data: 4, length: 59), rawFile(tensors, data: 4, length: 1), rawFile("[]", data: 4),
            rawFile(#"{"x":{"dtype":"U8","shape":[4],"data_offsets":[1,5]}}"#, data: 5),
            try Gzip.compress(rawFile(tensors, data: 4)),
        ]
        try withScratch { folder in
            let path = Files.path(folder, "a.safetensors")
            for bytes in files {
                try Files.writeAtomically(bytes, to: path)
                let error = try #require(failure { _ = try SafetensorsFile(path) }, "\(bytes.prefix(60))")
                #expect(error.place?.hasPrefix(path) == true)
                guard !Gzip.isGzip(bytes) else { continue }
                #expect(error.summary == failure { _ = try Safetensors(contentsOf: path) }?.summary)
            }
            #expect(failure { _ = try SafetensorsFile(Files.path(folder, "none")) }?.code == .notFound)
            #expect(failure { _ = try SafetensorsFile(folder) }?.code == .io)
        }
    }
}
