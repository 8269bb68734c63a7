import Datasets
import Jobs
import NeuralNetwork
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A reader, valid inputs for it, and how to damage them.
struct FuzzTarget: Sendable {
    let name: String
    /// How many inputs are tried before the next target has its turn.
    let batch: Int
    /// Valid inputs.
    let seeds: @Sendable () throws -> [[UInt8]]
    /// Reads the input; throws where it refuses. Ends the process where something was read that must not be.
    let read: @Sendable ([UInt8]) throws -> Void
    let mutate: @Sendable (_ input: [UInt8], _ other: [UInt8], _ mutator: inout Mutator) -> [UInt8]

    static let accepted = "accepted"

    /// What came of an input: accepted, or the kind of error. Anything but a DeMLError is a failure.
    func outcome(_ input: [UInt8]) throws -> String {
        do {
            try read(input)
            return Self.accepted
        } catch let error as DeMLError where error.code != .internal {
            // Numbers and names differ from input to input; what stands before the first name is the kind.
            let kind = error.message.prefix { $0 != "'" }.filter { !$0.isNumber }
            return "\(error.code): \(kind.prefix(80))"
        }
    }

    static let all: [FuzzTarget] =
        [
            safetensors, safetensorsGzip, gzip, npz, npy, idx, csv, text, table, dataset, schema, picture,
            modelDescription,
            trainingOptions, weights,
            shard, state, delta, report, progress,
        ] + modelFiles

    /// Limit for what is expanded: far below that of the process, far above what the seeds need.
    static let maximumBytes = 32 << 20

    static func require(_ isTrue: Bool, _ what: String) throws {
        guard isTrue else { throw DeMLError(.internal, what) }
    }
}

// MARK: - Containers

extension FuzzTarget {
    static let safetensors = FuzzTarget(
        name: "safetensors", batch: 500, seeds: { Seeds.safetensors },
        read: { bytes in
            try same(try Safetensors(decoding: bytes, maximumHeaderBytes: 1 << 20))
        },
        mutate: Structure.safetensors)

    static let safetensorsGzip = FuzzTarget(
        name: "safetensors.gz", batch: 100, seeds: { try Seeds.safetensors.map { try Gzip.compress($0) } },
        read: { bytes in
            try same(try Safetensors(storedBytes: bytes, maximumBytes: maximumBytes, maximumHeaderBytes: 1 << 20))
        },
        mutate: { Structure.packed($0, $1, &$2, Structure.safetensors) })

    /// What was read is written and read again.
    private static func same(_ file: Safetensors) throws {
        var seen: Set<String> = []
        for (name, tensor) in file.tensors {
            try require(seen.insert(name).inserted, "two tensors of one name were read")
            try require(tensor.bytes.count == tensor.count * tensor.dtype.byteCount, "a tensor has the wrong size")
            _ = tensor.rowCount
            if let rows = tensor.shape.first { _ = tensor.rows(0..<rows) }
            if tensor.dtype.isFloatingPoint { _ = try tensor.floats() } else { _ = try tensor.integers() }
            _ = tensor.firstNonFinite()
        }
        let again = try Safetensors(decoding: file.encoded())
        try require(
            again.metadata == file.metadata && again.tensors.count == file.tensors.count, "the round trip differs")
        for (name, tensor) in file.tensors {
            try require(again[name] == tensor, "the round trip of a tensor differs")
        }
    }

    static let gzip = FuzzTarget(
        name: "gzip", batch: 200, seeds: { try Seeds.gzip() },
        read: { bytes in
            let content = try Gzip.decompress(bytes, maximumBytes: 1 << 20)
            try require(content.count <= 1 << 20, "the limit did not hold")
            let again = try Gzip.decompress(try Gzip.compress(content, level: 1), maximumBytes: content.count)
            try require(again == content, "the round trip differs")
            _ = try? Gzip.inflateRaw(bytes[...], count: content.count)
        },
        mutate: { $2.bytes($0, other: $1) })
}

// MARK: - Datasets

extension FuzzTarget {
    static let npz = FuzzTarget(
        name: "npz", batch: 200, seeds: { Seeds.npz },
        read: { bytes in
            let archive = try NPZ(bytes, maximumBytes: maximumBytes)
            var failure: DeMLError?
            for name in archive.names {
                do throws(DeMLError) {
                    if let tensor = try archive.tensor(name) {
                        guard tensor.bytes.count == tensor.count * tensor.dtype.byteCount else {
                            throw DeMLError(.internal, "a tensor has the wrong size")
                        }
                    }
                } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
        },
        mutate: { $2.bytes($0, other: $1) })

    /// One array: the header is changed, and the zip file around it is right.
    static let npy = FuzzTarget(
        name: "npy", batch: 200, seeds: { Seeds.npy },
        read: { bytes in
            let archive = try NPZ(ZipWriter.archive([("x.npy", bytes)]), maximumBytes: maximumBytes)
            _ = try archive.tensor("x")
        },
        mutate: Structure.npy)

    static let idx = FuzzTarget(
        name: "idx", batch: 300, seeds: { try Seeds.idx + Seeds.idx.map { try Gzip.compress($0) } },
        read: { bytes in
            let tensor = try IDX.tensor(storedBytes: bytes, maximumBytes: maximumBytes)
            try require(tensor.bytes.count == tensor.count * tensor.dtype.byteCount, "a tensor has the wrong size")
        },
        mutate: { Structure.packed($0, $1, &$2) { $2.bytes($0, other: $1) } })

    static let csv = FuzzTarget(
        name: "csv", batch: 200, seeds: { Seeds.csv.map { Array($0.utf8) } },
        read: { try check(try Dataset(storedBytes: $0, name: "fuzz", options: DatasetOptions())) },
        mutate: { $2.text($0, other: $1, words: Seeds.words) })

    /// A play, of which its speakers are the clients.
    static let text = FuzzTarget(
        name: "text", batch: 200, seeds: { [Array(Seeds.play.utf8)] },
        read: { bytes in
            var options = DatasetOptions(testFraction: 0.2)
            options.text = TextOptions(tokens: bytes.count % 2 == 0 ? .characters : .bytes, block: 6)
            options.groupColumn = bytes.count % 3 == 0 ? "role" : nil
            let dataset = try Dataset(storedBytes: bytes, name: "fuzz", options: options)
            let tokens = dataset.schema.tokens ?? 0
            try require(try dataset.train.x.integers().allSatisfy { $0 < tokens }, "a token is out of range")
            try require(dataset.train.y.shape == dataset.train.x.shape, "a token has no label")
        },
        mutate: { $2.text($0, other: $1, words: ["ROMEO:\n", "\n\n", ":", "é", "漢", "\u{feff}"]) })

    /// A table by the schema of another: what was decided for one is obeyed for the other.
    static let table = FuzzTarget(
        name: "table", batch: 200, seeds: { [Array(Seeds.csv[1].utf8)] },
        read: { bytes in
            var options = DatasetOptions(testFraction: 0)
            options.standardizes = true
            options.missingValues = ["-"]
            options.schema = try Seeds.schema()
            try check(try Dataset(storedBytes: bytes, name: "fuzz", options: options))
        },
        mutate: { $2.text($0, other: $1, words: Seeds.words) })

    static let schema = FuzzTarget(
        name: "schema", batch: 200, seeds: { try [Array(Seeds.schema().canonicalJSON.utf8)] },
        read: { bytes in
            let schema = try Schema(json: String(decoding: bytes, as: UTF8.self))
            try require(schema.outputs > 0 && schema.inputShape.allSatisfy { $0 > 0 }, "an empty schema was read")
            let again = try Schema(json: schema.canonicalJSON)
            try require(again == schema && again.canonicalJSON == schema.canonicalJSON, "the round trip differs")
        },
        mutate: { $2.text($0, other: $1, words: Seeds.words) })

    /// PNG and JPEG, as examples of a model of pictures.
    static let picture = FuzzTarget(
        name: "picture", batch: 100, seeds: { Seeds.pictures },
        read: { bytes in
            let picture = try PictureFile(bytes)
            try require(
                picture.pixels.count == picture.width * picture.height * picture.channels,
                "a picture has the wrong size")
            try require(picture.scaled(to: [3, 4, 5]).count == 60, "a scaled picture has the wrong size")
        },
        mutate: { $2.bytes($0, other: $1) })

    /// Any file, recognised by content.
    static let dataset = FuzzTarget(
        name: "dataset", batch: 100,
        seeds: {
            try [Seeds.shard, try Gzip.compress(Seeds.shard), Seeds.npz[0], Seeds.npzOfTexts]
                + Seeds.csv.map { try Gzip.compress(Array($0.utf8)) }
        },
        read: { bytes in
            try check(
                try Dataset(storedBytes: bytes, name: "fuzz", options: DatasetOptions(maximumBytes: maximumBytes)))
        },
        mutate: { Structure.packed($0, $1, &$2, Structure.safetensors) })

    private static func check(_ dataset: Dataset) throws {
        for part in [dataset.train, dataset.test].compactMap(\.self) {
            try require(part.count > 0 && part.y.shape[0] == part.count, "a part is empty or has too few labels")
            try require(part.x.firstNonFinite() == nil, "a value is not finite")
            _ = part.gathered([part.count - 1, 0])
        }
        if let classes = dataset.classes {
            try require(try dataset.trainLabels().allSatisfy { (0..<classes).contains($0) }, "a label is out of range")
            if dataset.train.count >= 3, classes <= 1000 {
                let parts = try dataset.partition(.dirichlet(alpha: 0.1), parts: 3, seed: 1)
                _ = try dataset.labelDistribution(parts)?.text()
            }
        }
    }
}

// MARK: - Models

extension FuzzTarget {
    static let modelDescription = FuzzTarget(
        name: "model", batch: 200, seeds: { Seeds.models.map { Array($0.utf8) } },
        read: { bytes in
            let model = try ModelDescription(json: String(decoding: bytes, as: UTF8.self))
            try require(
                model.parameterCount == model.parameters.reduce(0) { $0 + $1.shape.reduce(1, *) }, "wrong count")
            let again = try ModelDescription(json: model.canonicalJSON)
            try require(again == model && again.canonicalJSON == model.canonicalJSON, "the round trip differs")
        },
        mutate: { $2.text($0, other: $1, words: Seeds.words) })

    static let trainingOptions = FuzzTarget(
        name: "options", batch: 200, seeds: { Seeds.options.map { Array($0.utf8) } },
        read: { bytes in
            let options = try TrainingOptions(json: String(decoding: bytes, as: UTF8.self))
            try options.validate()
            let again = try TrainingOptions(json: options.canonicalJSON)
            try require(again == options, "the round trip differs")
        },
        mutate: { $2.text($0, other: $1, words: Seeds.words) })

    static let weights = FuzzTarget(
        name: "weights", batch: 200, seeds: { try Seeds.weights() },
        read: { bytes in
            let weights = try Weights(try Safetensors(storedBytes: bytes, maximumBytes: maximumBytes))
            try require(weights.parameters.allSatisfy(\.isFinite), "a weight is not finite")
            let again = try Weights(weights.safetensors())
            try require(again == weights, "the round trip differs")
        },
        mutate: Structure.safetensors)

    /// What a worker gets: examples for a model.
    static let shard = FuzzTarget(
        name: "shard", batch: 200, seeds: { [Seeds.shard, try Gzip.compress(Seeds.shard)] },
        read: { bytes in
            let model = try ModelDescription(json: Seeds.modelOfShard)
            let file = try Safetensors(storedBytes: bytes, maximumBytes: maximumBytes)
            guard let x = file["x"], let y = file["y"] else { throw DeMLError(.missing, "no x or no y") }
            let examples = try Examples(x: x, y: y, for: model)
            try require(examples.count == x.shape[0] && examples.count > 0, "the number of examples is wrong")
            try require(examples.labels?.allSatisfy { (0..<3).contains($0) } == true, "a label is out of range")
            _ = examples.subset([examples.count - 1, 0])
        },
        mutate: { Structure.packed($0, $1, &$2, Structure.safetensors) })

    /// What a training that was stopped goes on from. Its digest is made anew, so that what lies behind it is reached.
    static let state = FuzzTarget(
        name: "state", batch: 200, seeds: { try Seeds.states() },
        read: { bytes in
            let file = try Safetensors(decoding: bytes, maximumHeaderBytes: 1 << 20)
            try refuseUnsealed(file)
            let state = try TrainerState(TrainerState.sealed(file))
            try require(state.weights.parameters.allSatisfy(\.isFinite), "a weight is not finite")
            let again = try TrainerState(state.safetensors())
            try require(again == state, "the round trip differs")
            // What a trainer takes can be gone on with to the end.
            for options in Seeds.stateOptions {
                guard
                    let trainer = try? Trainer(
                        weights: Initializer.weights(for: state.weights.model, seed: 1), options: options,
                        resuming: state)
                else { continue }
                guard try state.weights.model == ModelDescription(json: Seeds.modelOfShard) else { continue }
                do {
                    let result = try trainer.train(on: try Seeds.stateExamples())
                    try require(result.steps == options.steps ?? options.epochs * 3, "the number of steps is wrong")
                } catch let error as DeMLError where error.code == .notFinite || error.code == .mismatch {
                    continue
                }
            }
        },
        mutate: Structure.safetensors)

    /// A changed content without a new digest is never read.
    private static func refuseUnsealed(_ file: Safetensors) throws {
        guard file.metadata != TrainerState.sealed(file).metadata, (try? TrainerState(file)) != nil else { return }
        try require(false, "a state with a wrong digest was read")
    }

    /// What a stranger's worker sends back.
    static let delta = FuzzTarget(
        name: "delta", batch: 200, seeds: { try Seeds.deltas() },
        read: { bytes in
            let model = try ModelDescription(json: Seeds.models[2])
            let delta = try Delta(storedBytes: bytes, model: model)
            try require(delta.parameters.count == model.parameterCount, "the number of parameters is wrong")
            try require(delta.parameters.allSatisfy(\.isFinite), "a number is not finite")
            try require(delta.examples >= 0 && delta.steps >= 0, "a count is negative")
            let again = try Delta(storedBytes: delta.safetensors(model).encoded(), model: model)
            try require(
                again.parameters == delta.parameters && again.options == delta.options, "the round trip differs")
        },
        mutate: { Structure.packed($0, $1, &$2, Structure.safetensors) })

    static let report = FuzzTarget(
        name: "report", batch: 100, seeds: { [Array(Seeds.report.utf8)] },
        read: { bytes in
            let job = WorkerJob(
                .train(TrainingOptions(epochs: 1)), inputs: [:], output: "d", report: "r",
                limits: .init(maxSeconds: 1, allowsPartialWork: true))
            let training = try Receipt(json: bytes).checked(for: job, examples: 600).training
            guard let training else { throw DeMLError(.internal, "a receipt of something else has passed") }
            try require((1...10).contains(training.steps) && training.epochs.count == 1, "the steps are out of range")
            try require(
                training.machine.samplesPerSecond <= Receipt.maximumRate && training.epochs[0].loss.isFinite
                    && (0...1).contains(training.epochs[0].accuracy ?? 0), "a number is out of range")
        },
        mutate: { $2.text($0, other: $1, words: Seeds.words) })

    static let progress = FuzzTarget(
        name: "progress", batch: 500,
        seeds: { [Array("epoch 1/3 loss 0.5 accuracy 0.25 samples_per_second 7\n".utf8)] },
        read: { bytes in
            var reader = ProgressReader(epochs: 3)
            let found = reader.take(bytes + [10])
            guard !found.isEmpty else { throw DeMLError(.malformed, "no line that tells of an epoch") }
            try require(
                found.allSatisfy {
                    (1...3).contains($0.epoch) && $0.epochs == 3 && $0.loss.isFinite
                        && (0...Receipt.maximumRate).contains($0.samplesPerSecond)
                }, "a number is out of range")
        },
        mutate: { $2.text($0, other: $1, words: Seeds.words) })
}
