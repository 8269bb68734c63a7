import Datasets
import Foundation
import Tensors
import Testing

/// What is written is what is read; numpy's own opinion is asked by Tests/system/predict.sh.
@Suite("Writing npz")
struct NPZWriterTests {
    private static func scratch() -> String { NSTemporaryDirectory() + "deml-npz-" + UUID().uuidString + ".npz" }

    @Test("arrays of every kind come back as they were")
    func roundTrip() throws {
        let path = Self.scratch()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let arrays: [(String, Tensor)] = [
            ("predictions", Tensor(shape: [3, 2], floats: [0, -1.5, .pi, 1e-30, 7, 8])),
            ("rows", Tensor(shape: [3], int64s: [-1, 0, 1 << 40])),
            ("bytes", Tensor(shape: [2, 1, 2], bytes: [0, 1, 254, 255])),
            ("doubles", Tensor(shape: [1], doubles: [0.1])), ("ints", Tensor(shape: [2], int32s: [-5, 5])),
            ("empty", Tensor(shape: [0, 4], floats: [])),
        ]
        var file = try NPZWriter(path)
        for (name, tensor) in arrays { try file.add(name, .numbers(tensor)) }
        try file.commit()
        let read = try NPZ(try Files.read(path, maximumBytes: 1 << 20))
        #expect(read.names == arrays.map(\.0))
        for (name, tensor) in arrays { #expect(try read.tensor(name) == tensor, "\(name)") }
    }

    @Test("the bytes depend on what is written alone; a file that is not complete is none")
    func bytes() throws {
        let (one, two) = (Self.scratch(), Self.scratch())
        defer { for path in [one, two] { try? FileManager.default.removeItem(atPath: path) } }
        for path in [one, two] {
            var file = try NPZWriter(path)
            try file.add("class_names", .texts(["oak", "Übung 🌳", ""]))
            try file.commit()
        }
        #expect(try Files.read(one, maximumBytes: 4096) == Files.read(two, maximumBytes: 4096))
        let three = Self.scratch()
        var file: NPZWriter? = try NPZWriter(three)
        try file?.add("x", .texts([]))
        file = nil
        #expect(!Files.exists(three))
    }

    @Test("types that numpy has no word for are refused")
    func refused() throws {
        var file = try NPZWriter(Self.scratch())
        let half = try Tensor(dtype: .bf16, shape: [1], bytes: [0, 0][...])
        let error = #expect(throws: DeMLError.self) { try file.add("x", .numbers(half)) }
        #expect(error?.code == .dtype)
    }
}
