import Jobs
import NeuralNetwork
import Tensors
import Testing
import Worker

@Suite struct DeltaTests {
    private static let digest = String(repeating: "0a", count: 32)

    private func delta(_ model: ModelDescription) -> Delta {
        Delta(
            parameters: (0..<model.parameterCount).map { Float($0) / 8 }, examples: 50, steps: 7,
            weightsSHA256: Self.digest, shardSHA256: String(repeating: "f", count: 64),
            options: TrainingOptions(epochs: 2, optimizer: .adam(learningRate: 0.5)))
    }

    @Test func comesBackAsItWas() throws {
        try withFixture { fixture in
            var written = delta(fixture.model)
            try written.write(to: fixture.folder.delta, model: fixture.model)
            let read = try Delta(contentsOf: fixture.folder.delta, model: fixture.model)
            #expect(read == written)
            #expect(read.sha256 == (try Safetensors.digestOfContents(of: fixture.folder.delta)))
            #expect(read.byteCount == Files.size(of: fixture.folder.delta))
            try read.check(weightsSHA256: Self.digest, shardSHA256: read.shardSHA256, options: read.options)
        }
    }

    @Test func refusesAnothersWork() throws {
        let model = try ModelDescription(json: Fixture.description)
        let delta = delta(model)
        let other = String(repeating: "1", count: 64)
        #expect(throws: DeMLError.self) { try delta.check(weightsSHA256: other, shardSHA256: delta.shardSHA256) }
        #expect(throws: DeMLError.self) { try delta.check(weightsSHA256: delta.weightsSHA256, shardSHA256: other) }
        #expect(throws: DeMLError.self) {
            try delta.check(
                weightsSHA256: delta.weightsSHA256, shardSHA256: delta.shardSHA256, options: TrainingOptions())
        }
    }

    @Test(arguments: [
        ("deml.examples", nil, DeMLError.Code.missing), ("deml.examples", "-1", .malformed),
        ("deml.examples", "+5", .malformed), ("deml.steps", "1e3", .malformed),
        ("deml.weights_sha256", "abc", .malformed), ("deml.shard_sha256", nil, .missing),
        ("deml.options", "{}}", .malformed),
    ])
    func refusesWrongMetadata(key: String, value: String?, code: DeMLError.Code) throws {
        let model = try ModelDescription(json: Fixture.description)
        var file = delta(model).safetensors(model)
        file.metadata[key] = value
        let error = #expect(throws: DeMLError.self) { try Delta(storedBytes: file.encoded(), model: model) }
        #expect(error?.code == code)
    }

    @Test func refusesTensorsThatDoNotFit() throws {
        let model = try ModelDescription(json: Fixture.description)
        let good = delta(model).safetensors(model)
        var cases: [(Safetensors, DeMLError.Code)] = []
        var file = good
        file["0.bias"] = nil
        cases.append((file, .missing))
        file = good
        file["0.bias"] = Tensor(shape: [4, 2], floats: [Float](repeating: 0, count: 8))
        cases.append((file, .shape))
        file = good
        file["0.bias"] = Tensor(shape: [8], floats: [.infinity] + [Float](repeating: 0, count: 7))
        cases.append((file, .notFinite))
        file = good
        file["extra"] = Tensor(shape: [1], floats: [0])
        cases.append((file, .mismatch))
        file = good
        file["extra"] = Tensor(shape: [4 << 20], bytes: [UInt8](repeating: 0, count: 4 << 20))
        cases.append((file, .tooLarge))
        for (file, code) in cases {
            let error = #expect(throws: DeMLError.self) { try Delta(storedBytes: file.encoded(), model: model) }
            #expect(error?.code == code)
        }
    }
}
