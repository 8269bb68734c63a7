import NeuralNetwork
import Tensors
import Testing

/// Inputs that are ids of tokens, labels for each of them, and what is refused.
@Suite struct TokenTests {
    static func model(
        tokens: Int = 7, length: Int = 4, _ layers: [Layer] = [.embedding(width: 5), .linear(outFeatures: 7)]
    ) throws -> ModelDescription {
        try ModelDescription(input: .init(shape: [length], tokens: tokens), layers: layers, loss: .crossEntropy)
    }

    @Test func descriptionsSayTokens() throws {
        let json = #"{"input":{"shape":[4],"tokens":7},"layers":[{"embedding_dim":5,"type":"embedding"}],"loss":"mse"}"#
        let model = try ModelDescription(json: json)
        #expect(model.canonicalJSON == json && model.input.tokens == 7 && model.outputShape == [4, 5])
        let whole = try Self.model()
        #expect(whole.labelsPerExample == 4 && whole.classes == 7 && whole.labelsTokens)
        #expect(whole.parameters.map(\.name) == ["0.weight", "1.weight", "1.bias"])
        let ignoring = json.replacing("\"mse\"", with: #"{"ignore_index":-100,"type":"cross_entropy"}"#)
        #expect(try ModelDescription(json: ignoring).loss == .crossEntropy)
    }

    /// Names of all parameters as torch has them.
    @Test func parametersOfSequences() throws {
        let model = try Self.model([
            .embedding(width: 4), .positionalEmbedding(), .attention(heads: 2), .attention(heads: 2, isGPT: true),
            .lstm(hidden: 3, layers: 2, isBidirectional: true), .gru(hidden: 2, bias: false),
        ])
        #expect(
            model.parameters.map(\.name) == [
                "0.weight", "1.weight", "2.in_proj_weight", "2.in_proj_bias", "2.out_proj.weight", "2.out_proj.bias",
                "3.c_attn.weight", "3.c_attn.bias", "3.c_proj.weight", "3.c_proj.bias", "4.weight_ih_l0",
                "4.weight_hh_l0",
                "4.bias_ih_l0", "4.bias_hh_l0", "4.weight_ih_l0_reverse", "4.weight_hh_l0_reverse",
                "4.bias_ih_l0_reverse",
                "4.bias_hh_l0_reverse", "4.weight_ih_l1", "4.weight_hh_l1", "4.bias_ih_l1", "4.bias_hh_l1",
                "4.weight_ih_l1_reverse", "4.weight_hh_l1_reverse", "4.bias_ih_l1_reverse", "4.bias_hh_l1_reverse",
                "5.weight_ih_l0", "5.weight_hh_l0",
            ])
        #expect(model.parameters.first { $0.name == "4.weight_ih_l1" }?.shape == [12, 6])
        // What torch's default is: N(0, 1); the padded row is 0.
        let embedding = try Self.model(tokens: 2000, [.embedding(width: 8, paddingIndex: 3)])
        let values = Initializer.weights(for: embedding, seed: 1).parameters
        #expect(values[24..<32].allSatisfy { $0 == 0 })
        let variance = values.reduce(0) { $0 + Double($1) * Double($1) } / Double(values.count)
        #expect(abs(variance - 1) < 0.05)
    }

    @Test(arguments: [
        (#"[{"type":"linear","out_features":7}]"#, "cannot take token ids"),
        (#"[{"type":"embedding","embedding_dim":5,"num_embeddings":6}]"#, "less than the input's 7 tokens"),
        (#"[{"type":"embedding","embedding_dim":5,"padding_idx":7}]"#, "padding_idx 7"),
        (#"[{"type":"embedding","embedding_dim":0}]"#, "embedding_dim 0"),
        (#"[{"type":"embedding","embedding_dim":99999999}]"#, "too large"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"embedding","embedding_dim":5}]"#, "takes token ids"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"attention","num_heads":2}]"#, "cannot be divided"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"attention","num_heads":0}]"#, "num_heads 0"),
        (#"[{"type":"embedding","embedding_dim":4},{"type":"attention","num_heads":2,"dropout":1}]"#, "dropout 1"),
        (#"[{"type":"embedding","embedding_dim":4},{"type":"attention","num_heads":2,"naming":"x"}]"#, "naming 'x'"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"flatten"},{"type":"attention","num_heads":1}]"#, "[length"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"lstm","hidden_size":0}]"#, "hidden_size 0"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"lstm","hidden_size":268435456}]"#, "too large"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"gru","hidden_size":3,"num_layers":1000}]"#, "num_layers"),
        (
            #"[{"type":"embedding","embedding_dim":5},{"type":"gru","hidden_size":3,"batch_first":false}]"#,
            "batch_first"
        ),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"gru","hidden_size":3,"output":"some"}]"#, "output 'some'"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"lstm","hidden_size":3,"proj_size":2}]"#, "proj_size"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"positional_embedding","max_length":3}]"#, "max_length 3"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"positional_embedding","kind":"x"}]"#, "kind 'x'"),
        (#"[{"type":"embedding","embedding_dim":5},{"type":"tied_linear"},{"type":"flatten"}]"#, "only be the last"),
        (
            #"[{"type":"embedding","embedding_dim":5},{"type":"linear","out_features":4},{"type":"tied_linear"}]"#,
            "not fit"
        ),
    ])
    func badDescriptions(layers: String, problem: String) throws {
        let error = try #require(throws: DeMLError.self) {
            try ModelDescription(
                json: #"{"input":{"shape":[4],"tokens":7},"layers":\#(layers),"loss":"mse"}"#)
        }
        #expect("\(error)".contains(problem), "\(error)")
    }

    @Test(arguments: [
        (#"{"shape":[4],"tokens":1}"#, "tokens 1"), (#"{"shape":[4],"tokens":16777217}"#, "tokens 16777217"),
        (#"{"shape":[4,2],"tokens":7}"#, "[length]"), (#"{"shape":[4],"tokens":7,"divide_by":2}"#, "measurements"),
    ])
    func badInputs(input: String, problem: String) throws {
        let error = try #require(throws: DeMLError.self) {
            try ModelDescription(
                json: #"{"input":\#(input),"layers":[{"type":"embedding","embedding_dim":5}],"loss":"mse"}"#)
        }
        #expect("\(error)".contains(problem), "\(error)")
        let tied = #"{"input":{"shape":[4]},"layers":[{"type":"tied_linear"}],"loss":"mse"}"#
        #expect(throws: DeMLError.self) { try ModelDescription(json: tied) }
    }

    @Test func badExamples() throws {
        let model = try Self.model()
        func failure(_ x: Tensor, _ y: Tensor) -> DeMLError? {
            do {
                _ = try Examples(x: x, y: y, for: model)
                return nil
            } catch { return error as? DeMLError }
        }
        let x = Tensor(shape: [2, 4], bytes: [0, 1, 2, 3, 4, 5, 6, 0])
        let y = Tensor(shape: [2, 4], int64s: [1, 2, -100, 4, 5, 6, 0, 1])
        #expect(failure(x, y) == nil)
        #expect(
            failure(Tensor(shape: [2, 4], bytes: [0, 1, 2, 3, 4, 5, 6, 7]), y)?.message.contains("token 7") == true)
        #expect(failure(Tensor(shape: [1, 4], int32s: [0, -1, 2, 3]), y)?.code == .outOfRange)
        #expect(failure(Tensor(shape: [2, 4], floats: [0, 1, 2, 3, 4, 5, 6, 0]), y)?.code == .dtype)
        #expect(failure(x, Tensor(shape: [2], int64s: [1, 2]))?.message.contains("[N, 4]") == true)
        #expect(failure(x, Tensor(shape: [2, 4], int64s: [1, 2, -1, 4, 5, 6, 0, 1]))?.code == .outOfRange)
        #expect(failure(x, Tensor(shape: [8], int64s: [1, 2, 3, 4, 5, 6, 0, 1]))?.code == .shape)
    }

    /// A source that lies about its tokens must not make the kernels read where nothing is.
    @Test func noSourceIsTrusted() throws {
        struct Liar: ExampleSource {
            var count: Int { 3 }
            func gather(_ rows: UnsafeBufferPointer<Int64>, into batch: ExampleBatch) throws(DeMLError) {
                let ids = rows.flatMap { _ in [Int32](arrayLiteral: 0, 1, 1_000_000, 2) }
                try batch.setInputs(Tensor(shape: [rows.count, 4], int32s: ids))
                try batch.setTargets(Tensor(shape: [rows.count, 4], int32s: ids.map { $0 % 7 }))
            }
        }
        let trainer = try Trainer(weights: Initializer.weights(for: Self.model(), seed: 1), options: TrainingOptions())
        let error = try #require(throws: DeMLError.self) { try trainer.train(on: Liar()) }
        #expect(error.message.contains("1000000") || error.message.contains("1e+06"), "\(error)")
    }

    /// Loss, accuracy and measures are those of the labels that count; ignored ones change nothing else.
    @Test func ignoredLabels() throws {
        let model = try Self.model()
        let weights = Initializer.weights(for: model, seed: 2)
        var random = RandomSource("ignored")
        let x = Tensor(shape: [9, 4], bytes: (0..<36).map { _ in UInt8(random.integer(0...6)) })
        let labels = (0..<36).map { _ in Int64(random.integer(0...6)) }
        let some = labels.enumerated().map { $0.offset % 3 == 1 ? -100 : $0.element }
        let all = try Examples(x: x, y: Tensor(shape: [9, 4], int64s: labels), for: model)
        let part = try Examples(x: x, y: Tensor(shape: [9, 4], int64s: some), for: model)
        let probabilities = try predict(weights: weights, x: x).floats()
        func mean(_ labels: [Int64]) -> (loss: Double, right: Double) {
            var (loss, right, count) = (0.0, 0.0, 0.0)
            for (index, label) in labels.enumerated() where label >= 0 {
                let row = probabilities[index * 7..<(index + 1) * 7]
                loss -= PortableMath.log(Double(row[row.startIndex + Int(label)]))
                right += row.max() == row[row.startIndex + Int(label)] ? 1 : 0
                count += 1
            }
            return (loss / count, right / count)
        }
        for (examples, labels) in [(all, labels), (part, some)] {
            let found = try evaluate(weights: weights, examples: examples, batchSize: 4, metrics: true)
            let expected = mean(labels)
            #expect(abs(found.loss - expected.loss) < 1e-5 && abs((found.accuracy ?? 0) - expected.right) < 1e-9)
            #expect(found.confusion.joined().reduce(0, +) == labels.count { $0 >= 0 })
            #expect(abs((found.metrics?.classification?.logLoss ?? 0) - expected.loss) < 1e-5)
        }
        let nothing = try Examples(
            x: x, y: Tensor(shape: [9, 4], int64s: [Int64](repeating: -100, count: 36)), for: model)
        #expect(throws: DeMLError.self) { try evaluate(weights: weights, examples: nothing) }
        // Trained on nothing, nothing changes.
        let trainer = try Trainer(weights: weights, options: TrainingOptions(optimizer: .sgd(learningRate: 1)))
        let result = try trainer.train(on: nothing)
        #expect(trainer.weights.parameters == weights.parameters && result.epochs[0].loss == 0)
    }

    /// A training that is stopped and gone on with elsewhere has the same bytes, whatever keeps a state.
    @Test func resumedBitForBit() throws {
        let model = try Self.model([
            .embedding(width: 8), .positionalEmbedding(), .dropout(p: 0.1),
            .residual(layers: [.layerNorm(normalizedShape: [8]), .attention(heads: 2, isCausal: true, dropout: 0.2)]),
            .lstm(hidden: 5, layers: 2, dropout: 0.1), .linear(outFeatures: 7),
        ])
        var random = RandomSource("resumed")
        let examples = try random.examples(model, count: 30)
        let start = Initializer.weights(for: model, seed: 5)
        let options = TrainingOptions(epochs: 2, batchSize: 4, optimizer: .adamw(learningRate: 0.01), seed: 3)
        let whole = try Trainer(weights: start, options: options)
        let expected = try whole.train(on: examples)
        var steps = 0
        let first = try Trainer(weights: start, options: options)
        _ = try first.train(on: examples, shouldStop: { steps == 5 }, onBatch: { steps = $0.step })
        let state = try TrainerState(first.state.safetensors())
        let second = try Trainer(weights: start, options: options, resuming: state, threads: 2)
        let result = try second.train(on: examples)
        #expect(second.weights.parameters.map(\.bitPattern) == whole.weights.parameters.map(\.bitPattern))
        #expect(result.epochs.map(\.loss) == expected.epochs.map(\.loss))
        #expect(result.epochs.map(\.accuracy) == expected.epochs.map(\.accuracy))
    }

    /// Attention over a long sequence takes memory as its length, not as its square.
    @Test func noSquareOfTheLength() throws {
        func scratch(_ length: Int) throws -> Int {
            let model = try ModelDescription(
                input: .init(shape: [length, 32]), layers: [.attention(heads: 4), .flatten, .linear(outFeatures: 2)],
                loss: .crossEntropy)
            let plan = try Network.memoryPlan(
                model: model, purpose: .training(.sgd()), batchCapacity: 1, threads: 1, instructionSet: .portable)
            return plan.shares.filter { $0.place.contains("attention") }.reduce(0) { $0 + $1.bytes }
        }
        let (short, long) = (try scratch(1024), try scratch(8192))
        #expect(long < 9 * short, "\(short) bytes for 1024, \(long) for 8192")
    }

    @Test func generation() throws {
        // A model that says: after token i comes token i + 1. W of the head is what the embedding is turned by one.
        let model = try Self.model([.embedding(width: 7), .linear(outFeatures: 7, bias: false)])
        var values = [Float](repeating: 0, count: model.parameterCount)
        for token in 0..<7 {
            values[token * 7 + token] = 4
            values[49 + (token + 1) % 7 * 7 + token] = 4
        }
        let weights = try Weights(model: model, parameters: values)
        func text(_ sampling: TextGenerator.Sampling, count: Int = 9, threads: Int = 1) throws -> [Int] {
            var tokens: [Int] = []
            try TextGenerator(weights, threads: threads).generate(after: [3, 5], count: count, sampling) {
                tokens.append($0)
                return true
            }
            return tokens
        }
        #expect(try text(.init(temperature: 0)) == [6, 0, 1, 2, 3, 4, 5, 6, 0])
        #expect(try text(.init(topK: 1)) == [6, 0, 1, 2, 3, 4, 5, 6, 0])
        let hot = TextGenerator.Sampling(temperature: 20, seed: 4)
        let drawn = try text(hot, count: 200)
        #expect(try text(hot, count: 200, threads: 3) == drawn && Set(drawn).count == 7)
        #expect(try text(.init(temperature: 20, seed: 5), count: 200) != drawn)
        let two = try text(.init(temperature: 1000, topK: 2, seed: 1), count: 100)
        for (before, next) in zip([5] + two, two) {
            let likeliest = (before + 1) % 7
            #expect(next == likeliest || next == (likeliest == 0 ? 1 : 0))
        }
        #expect(zip([5] + two, two).contains { ($0 + 1) % 7 != $1 })
        // As a job: the same tokens, and each of them again by itself.
        let (row, job) = TextContinuation.row(of: [3, 5], context: model.inputShape[0], tokens: 200, sampling: hot)
        let examples = try Examples(x: row, targets: nil, for: model)
        let written = try job.values(weights, examples, threads: 2).floats()
        #expect(written == drawn.map { Float($0) })
        let numbers = [0, 1, 2, 17, 199]
        #expect(try job.recomputed(numbers, of: written, weights, row, threads: 1) == numbers.map { written[$0] })
        let (cut, _) = TextContinuation.row(
            of: Array(repeating: 3, count: 50) + [3, 5], context: model.inputShape[0], tokens: 1, sampling: hot)
        #expect(cut.shape == row.shape)
        let generator = try TextGenerator(weights)
        for (beginning, sampling) in [
            ([], TextGenerator.Sampling()), ([7], .init()), ([-1], .init()), ([1], .init(temperature: -1)),
            ([1], .init(temperature: .nan)), ([1], .init(topK: 0)),
        ] as [([Int32], TextGenerator.Sampling)] {
            #expect(throws: DeMLError.self) {
                try generator.generate(after: beginning, count: 1, sampling) { _ in true }
            }
        }
        let images = try ModelDescription(
            input: .init(shape: [4]), layers: [.linear(outFeatures: 3)], loss: .crossEntropy)
        #expect(throws: DeMLError.self) { try TextGenerator(Initializer.weights(for: images, seed: 1)) }
    }
}
