import Datasets
import NeuralNetwork
import Tensors
import TestSupport
import Testing

/// Texts as examples. examples/coriolanus.txt is the beginning of Shakespeare's Coriolanus: 35,876 characters, 58 of them different.
@Suite struct TextTests {
    private let coriolanus = examplesFolder + "/coriolanus.txt"

    private func read(_ path: String, _ change: (inout DatasetOptions) -> Void = { _ in }) throws -> Dataset {
        var options = DatasetOptions(testFraction: 0.1)
        change(&options)
        return try Dataset(path: path, options: options)
    }

    private func text(_ part: Dataset.Part, _ example: Int, _ dataset: Dataset) throws -> String {
        guard case .tokens(_, let names) = dataset.schema.features else { return "" }
        return try TextVocabulary(names: names).text(of: try part.x.rows(example..<example + 1).integers())
    }

    @Test func charactersAndWhatFollows() throws {
        let dataset = try read(coriolanus)
        #expect(dataset.schema.tokens == 58 && dataset.schema.outputs == 58 && dataset.schema.inputShape == [64])
        // 32,288 characters to learn from: each example needs one more than it has.
        #expect(dataset.train.x.shape == [504, 64] && dataset.train.x.dtype == .u8)
        #expect(dataset.test?.x.shape == [56, 64])
        #expect(try text(dataset.train, 0, dataset).hasPrefix("First Citizen:\nBefore we proceed any further"))
        let (x, y) = (try dataset.train.x.integers(), try dataset.train.y.integers())
        #expect(x.dropFirst() == y.dropLast())
        #expect(dataset.decisions.contains { $0.subject == "text" && $0.text.contains("58 different") })
        #expect(dataset.isSplit && dataset.groups == nil)
        // The test set comes later: the two put together are the text.
        let whole = try String(decoding: Files.read(coriolanus, maximumBytes: 1 << 20), as: UTF8.self)
        let test = try #require(dataset.test)
        #expect(whole.dropFirst(32_288).hasPrefix(try text(test, 0, dataset)))
    }

    @Test func bytesBlocksAndStrides() throws {
        try withScratch { folder in
            try Files.writeAtomically(Array("héllo wörld".utf8), to: Files.path(folder, "a.txt"))
            let dataset = try read(Files.path(folder, "a.txt")) {
                $0.text = TextOptions(tokens: .bytes, block: 4, stride: 2)
                $0.testFraction = 0
            }
            #expect(dataset.schema.tokens == 256 && dataset.schema.outputs == 256)
            #expect(dataset.train.x.shape == [5, 4])
            #expect(try dataset.train.x.integers().prefix(4) == [0x68, 0xc3, 0xa9, 0x6c])
            #expect(try dataset.train.x.integers().suffix(4) == [0xc3, 0xb6, 0x72, 0x6c])
            #expect(try dataset.train.y.integers().suffix(4) == [0xb6, 0x72, 0x6c, 0x64])
        }
    }

    @Test func moreCharactersThanBytes() throws {
        try withScratch { folder in
            let text = String(String.UnicodeScalarView((0x4e00..<0x4f00 + 50).compactMap(Unicode.Scalar.init)))
            try Files.writeAtomically(Array(text.utf8), to: Files.path(folder, "han.txt"))
            let dataset = try read(Files.path(folder, "han.txt")) {
                $0.text = TextOptions(block: 10)
                $0.testFraction = 0
            }
            #expect(dataset.schema.tokens == 306 && dataset.train.x.dtype == .i32)
            let model = try ModelDescription(
                input: .init(shape: [10], tokens: 306), layers: [.embedding(width: 3), .linear(outFeatures: 306)],
                loss: .crossEntropy)
            _ = try Examples(x: dataset.train.x, y: dataset.train.y, for: model)
        }
    }

    @Test func clientsByRoleAndByFile() throws {
        let roles = try read(coriolanus) {
            $0.groupColumn = "role"
            $0.text = TextOptions(block: 20)
        }
        let groups = try #require(roles.groups)
        #expect(groups.names.contains("MENENIUS") && groups.names.contains("First Citizen"))
        #expect(groups.ids.count == roles.train.count && Set(groups.ids) == Set(groups.names.indices))
        let partition = Partition.byColumn("role")
        let parts = try roles.partition(partition, parts: try roles.clients(partition), seed: 0)
        #expect(parts.reduce(0) { $0 + $1.count } == roles.train.count)
        // Nobody's words are another's.
        let menenius = try #require(groups.names.firstIndex(of: "MENENIUS"))
        let first = try #require(groups.ids.firstIndex(of: menenius))
        #expect(try text(roles.train, first, roles) == "What work's, my coun")

        try withScratch { folder in
            for name in ["one", "two"] {
                let words = String(repeating: "\(name) and \(name). ", count: 30)
                try Files.writeAtomically(Array(words.utf8), to: Files.path(folder, name + ".txt"))
            }
            try Files.writeAtomically(Array("one".utf8), to: Files.path(folder, "short.txt"))
            let files = try read(folder) { $0.text = TextOptions(block: 16) }
            #expect(files.groups?.names == ["one.txt", "two.txt"])
            #expect(files.decisions.contains { $0.text.contains("1 have too little text") })
            _ = try files.partition(.byFile, parts: 2, seed: 0)
        }
    }

    @Test func shardsOfTextKeepTheirSchema() throws {
        let dataset = try read(coriolanus)
        try withScratch { folder in
            let set = try dataset.writeShards(to: folder, parts: 3, partition: .iid, seed: 1)
            #expect(set.labels == nil && set.shards.count == 3)
            let again = try Dataset(path: folder)
            #expect(again.schema.features == dataset.schema.features && again.train.count == dataset.train.count)
            #expect(again.train.y.shape == [504, 64] && again.labelsTokens)
        }
    }

    @Test func theTextOfARunIsDividedAsItWas() throws {
        let dataset = try read(coriolanus)
        var schema = dataset.schema
        schema.source = .init(sha256: dataset.contentSHA256(), testFraction: 0.1, seed: 0, validationFraction: 0.2)
        var options = DatasetOptions()
        options.schema = schema
        let own = try ModelExamples(path: coriolanus, options: options)
        #expect(own.isOwn && own.test?.x == dataset.test?.x)
        #expect(own.train?.x.shape == [403, 64] && own.validation?.x.shape == [101, 64])
        #expect(try Schema(json: schema.canonicalJSON) == schema)
        try withScratch { folder in
            try Files.writeAtomically(
                Array(String(repeating: "All the world. ", count: 20).utf8), to: Files.path(folder, "b.txt"))
            let other = try ModelExamples(path: Files.path(folder, "b.txt"), options: options)
            #expect(!other.isOwn && other.test == nil && other.train?.x.shape == [4, 64])
        }
    }

    @Test func stridesAndRolesAreRemembered() throws {
        let dataset = try read(coriolanus) {
            $0.text = TextOptions(block: 20, stride: 7)
            $0.groupColumn = "role"
        }
        #expect(dataset.stride == 7 && dataset.isByRole)
        var options = DatasetOptions()
        var schema = dataset.schema
        schema.source = .init(
            sha256: dataset.contentSHA256(), testFraction: 0.1, seed: 0, stride: dataset.stride, isByRole: true)
        options.schema = try Schema(json: schema.canonicalJSON)
        let own = try ModelExamples(path: coriolanus, options: options)
        #expect(own.isOwn && own.train?.x == dataset.train.x && own.test?.y == dataset.test?.y)
    }

    @Test func tokensInArraysAreDividedAsTheyWere() throws {
        try withScratch { folder in
            func write(_ rows: Int, _ name: String) throws -> String {
                let x = Tensor(shape: [rows, 3], bytes: (0..<rows * 3).map { UInt8($0 % 7) })
                let y = Tensor(shape: [rows], bytes: (0..<rows).map { UInt8($0 % 2) })
                let path = Files.path(folder, name)
                _ = try Safetensors(tensors: [("x", x), ("y", y)], metadata: [:]).write(to: path)
                return path
            }
            let path = try write(20, "own.safetensors")
            let dataset = try read(path) { $0.tokens = 8 }
            var options = DatasetOptions()
            options.schema = dataset.schema
            options.schema?.source = .init(
                sha256: dataset.contentSHA256(), testFraction: 0.1, seed: 0, validationFraction: 0.5)
            let own = try ModelExamples(path: path, options: options)
            #expect(own.isOwn && own.test?.x == dataset.test?.x && own.test?.x.shape == [2, 3])
            #expect(own.train?.x.shape == [9, 3] && own.validation?.x.shape == [9, 3])
            // Other arrays are undivided, were it one row.
            let other = try ModelExamples(path: try write(1, "other.safetensors"), options: options)
            #expect(!other.isOwn && other.test == nil && other.train?.x.shape == [1, 3])
        }
    }

    @Test func whatIsNoUsableText() throws {
        try withScratch { folder in
            func failed(_ bytes: [UInt8], _ change: (inout DatasetOptions) -> Void = { _ in }) throws -> DeMLError? {
                let path = Files.path(folder, "t.txt")
                try Files.writeAtomically(bytes, to: path)
                return failure { _ = try read(path, change) }
            }
            let words = Array(String(repeating: "some words here\n", count: 40).utf8)
            #expect(try failed([0x61, 0xff, 0x62] + words)?.message.contains("UTF-8") == true)
            #expect(try failed(Array("too short a text".utf8)) { $0.text = TextOptions() }?.code == .missing)
            #expect(try failed(words) { $0.groupColumn = "writer" }?.hint?.contains("role") == true)
            #expect(try failed(words) { $0.groupColumn = "role" }?.message.contains("speaks twice") == true)
            #expect(try failed(words) { $0.text = TextOptions(block: 0) }?.code == .outOfRange)
            // A character that the model does not know, by name.
            let schema = Schema(
                features: .tokens(length: 4, vocabulary: ["a", "b"]), target: .classes(["a", "b"], column: nil))
            let unknown = try failed(Array("ababababZab".utf8)) { $0.schema = schema }
            #expect(unknown?.message.contains("'Z'") == true && unknown?.code == .outOfRange)
            #expect(failure { _ = try TextVocabulary(names: ["a", "bc"]) }?.code == .malformed)
            // A table keeps being one, whatever it is called.
            let table = Array((0..<20).map { "\($0),\($0 % 2)\n" }.joined().utf8)
            try Files.writeAtomically(table, to: Files.path(folder, "t.txt"))
            #expect(try read(Files.path(folder, "t.txt")).schema.columnNames.count == 1)
            // Only a model of text can take it.
            let numbers = Schema(features: .numbers(shape: [3]), target: .numbers(["y"]))
            let mismatch = try failed(words) { $0.schema = numbers }
            #expect(mismatch?.code == .mismatch)
        }
    }
}
