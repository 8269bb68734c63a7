import Datasets
import Tensors
import TestSupport
import Testing

/// Arrays as numpy and Keras users have them: `.npy` files in a folder.
@Suite struct ArrayTests {
    /// The bytes of an `.npy` file.
    private func npy(_ type: String, _ shape: String, _ data: [UInt8], fortran: Bool = false) -> [UInt8] {
        var header = "{'descr': '\(type)', 'fortran_order': \(fortran ? "True" : "False"), 'shape': \(shape), }"
        header += String(repeating: " ", count: 118 - header.utf8.count - 1) + "\n"
        return [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8) + data
    }

    private func read(
        _ x: [UInt8], _ y: [UInt8], _ change: (inout DatasetOptions) -> Void = { _ in }
    ) throws -> Dataset {
        var options = DatasetOptions(testFraction: 0)
        change(&options)
        var dataset: Dataset?
        try withScratch { folder in
            try Files.writeAtomically(x, to: "\(folder)/X_train.npy")
            try Files.writeAtomically(y, to: "\(folder)/y_train.npy")
            dataset = try Dataset(path: folder, options: options)
        }
        return try #require(dataset)
    }

    private var six: [UInt8] { npy("|u1", "(3, 2)", [1, 2, 3, 4, 5, 6]) }

    @Test func textsAreClasses() throws {
        var utf32: [UInt8] = []
        for word in ["cat", "owl", "cat"] { utf32 += word.utf8.flatMap { [$0, 0, 0, 0] } }
        let data = try read(six, npy("<U3", "(3,)", utf32))
        #expect(try data.classNames == ["cat", "owl"] && data.train.y.integers() == [0, 1, 0])
        let bytes = try read(six, npy("|S4", "(3,)", Array("cat\0owl\0cat\0".utf8)))
        #expect(bytes.classNames == ["cat", "owl"])
    }

    @Test func labelsInEveryForm() throws {
        let oneHot = try read(six, npy("|u1", "(3, 3)", [0, 1, 0, 0, 0, 1, 1, 0, 0]))
        #expect(try oneHot.train.y.integers() == [1, 2, 0])
        #expect(oneHot.decisions.contains { $0.text.contains("one-hot") })
        let fromOne = try read(six, npy("|u1", "(3,)", [1, 2, 3])) { $0.outputs = 3 }
        #expect(try fromOne.train.y.integers() == [0, 1, 2] && fromOne.classNames == ["1", "2", "3"])
        let minus = try read(six, npy("|i1", "(3,)", [255, 1, 255])) { $0.outputs = 2 }
        #expect(try minus.train.y.integers() == [0, 1, 0] && minus.classNames == ["-1", "1"])
        // 0.0 and 1.0 for a model of classes; 0.5 is none.
        let floats = npy("<f4", "(3,)", [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 0])
        #expect(try read(six, floats) { $0.labels = .classes }.train.y.integers() == [0, 1, 0])
        let half = npy("<f4", "(3,)", [0, 0, 0, 63, 0, 0, 128, 63, 0, 0, 0, 0])
        let error = failure { _ = try read(six, half) { $0.labels = .classes } }
        #expect(error?.message.contains("0.5") == true && error?.hint?.contains("mse") == true)
        #expect(try read(six, half).train.y.floats() == [0.5, 1, 0])
    }

    @Test func orders() throws {
        let y = npy("|u1", "(3,)", [0, 1, 0])
        let fortran = try read(npy("|u1", "(3, 2)", [1, 3, 5, 2, 4, 6], fortran: true), y)
        #expect(try fortran.train.x.integers() == [1, 2, 3, 4, 5, 6])
        let big = try read(npy(">u2", "(3, 2)", [0, 1, 0, 2, 0, 3, 1, 0, 0, 5, 0, 6]), y)
        #expect(try big.train.x.floats() == [1, 2, 3, 256, 5, 6])
    }

    @Test func channelsLastAreMoved() throws {
        let pixels = (0..<60).map { UInt8($0) }
        let x = npy("|u1", "(2, 5, 2, 3)", pixels)
        let y = npy("|u1", "(2,)", [0, 1])
        let data = try read(x, y)
        #expect(data.train.x.shape == [2, 3, 5, 2] && data.schema.inputShape == [3, 5, 2])
        #expect(try data.train.x.rows(0..<1).integers().prefix(11) == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 1])
        #expect(data.decisions.contains { $0.subject == "layout" })
        #expect(try read(x, y) { $0.inputShape = [5, 2, 3] }.train.x.shape == [2, 5, 2, 3])
    }

    @Test func objectsAreRefused() {
        let error = failure { _ = try read(npy("|O", "(3, 2)", [1]), npy("|u1", "(3,)", [0, 1, 0])) }
        #expect(error?.code == .dtype && error?.hint?.contains("objects") == true)
    }

    @Test func theTrueNamesAreListed() throws {
        try withScratch { folder in
            for name in ["alpha", "beta", "gamma"] { try Files.writeAtomically(six, to: "\(folder)/\(name).npy") }
            let error = failure { _ = try Dataset(path: folder) }
            #expect(error?.code == .missing && error?.hint?.contains("'alpha', 'beta', 'gamma'") == true)
        }
    }
}
