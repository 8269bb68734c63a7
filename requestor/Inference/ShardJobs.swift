import Fleets
import Jobs
import NeuralNetwork
import Tensors

/// Makes a job of a shard: its rows in a file of its own for machines that have one, else as they are in memory.
struct ShardJobs: Sendable {
    let model: Inference.Model
    let rows: Tensor
    let form: WorkerJob.PredictionForm
    let cut: ShardCut
    /// Where the files of shards on their way lie.
    let folder: String
    let writesFiles: Bool
    /// Whether bytes on the way cost more than compressing them.
    let compresses: Bool
    let settings: Inference.Settings
    /// For a fleet inside this process.
    let weights: Weights?

    /// A job, and the file that is to be removed when it has ended.
    func job(_ attempt: ShardMachine.Attempt, avoiding: Set<String>) throws(DeMLError) -> (FleetJob, file: String?) {
        let range = cut.range(attempt.client)
        let part = rows.rows(range)
        var inputs: [WorkerJob.Role: JobInput] = [:]
        var file: String?
        if writesFiles {
            let path =
                "\(folder)/shard-\(attempt.client)-\(attempt.number).safetensors" + (compresses ? ".gz" : "")
            let sha256 = try Safetensors(tensors: [("x", part)]).write(to: path)
            file = path
            inputs[.shard] = .file(StoredFile(path: path, sha256: sha256, byteCount: Files.size(of: path) ?? 0))
            inputs[.weights] = .file(model.file)
        } else {
            inputs[.shard] = .examples(try Examples(x: part, targets: nil, for: model.weights.model))
            inputs[.weights] = weights.map(JobInput.weights)
        }
        let job = FleetJob(
            name: "0-\(attempt.client)-\(attempt.number)", title: "shard \(attempt.client)", kind: .predict(form),
            inputs: inputs, model: model.weights.model, examples: range.count, limits: .init(threads: settings.threads),
            timeLimit: settings.timeout, avoiding: avoiding)
        return (job, file)
    }
}

extension Weights {
    /// The numbers of a file, in memory.
    package init(of file: WeightsFile) throws(DeMLError) {
        var parameters: [Float] = []
        parameters.reserveCapacity(file.model.parameterCount)
        for tensor in file.parameterTensors { parameters += try tensor.floats() }
        try self.init(model: file.model, parameters: parameters, round: file.round)
    }
}
