import Federation
import Fleets
import Jobs
import NeuralNetwork
import Tensors

/// Something that happened while a model was used on other machines. Events come one at a time and in order.
public enum InferenceEvent: Sendable {
    /// What is going to be done; before anything is spent.
    case planned(Plan)
    /// A machine has taken a shard. The round is 0, the client the shard.
    case given(RunEvent.Attempt)
    /// A machine is at another step of a shard: "upload", "predict", "download".
    case stage(RunEvent.AttemptStage)
    /// The answer to a shard has been looked at and is kept.
    case kept(Kept)
    case failed(RunEvent.AttemptFailed)
    /// A shard is also given to another machine, as the first is slow.
    case straggler(RunEvent.Straggler)
    /// Rows of an answer were computed here, too.
    case audited(RunEvent.Audit)
    /// What a liar had sent for this shard before it was found out is thrown away; others do it.
    case dropped(shard: Int)
    case notice(FleetNotice)
    case progress(Progress)

    public struct Plan: Sendable, Equatable, Codable {
        /// "local", "simulated" or "golem".
        public var fleet: String
        public var machines: Int
        public var rows: Int
        public var shards: Int
        public var rowsPerShard: Int
        /// Shards that were done before: the work goes on.
        public var shardsDone: Int
        /// Multiply-adds of the shards that are to do.
        public var multiplyAdds: Double
        /// Bytes that will move, about: the model once to each machine, rows there, answers back.
        public var bytesUp: Int
        public var bytesDown: Int

        /// - Parameters:
        ///   - machines: that may work at once; no more than there are shards do.
        ///   - done: shards that were done before.
        ///   - modelBytes: of the model's file.
        init(
            fleet: String, machines: Int, cut: ShardCut, done: Set<Int> = [], of rows: Tensor, model: ModelDescription,
            modelBytes: Int, form: WorkerJob.PredictionForm
        ) {
            let open = (0..<cut.count).filter { !done.contains($0) }.reduce(0) { $0 + cut.range($1).count }
            self.fleet = fleet
            self.machines = min(machines, max(1, cut.count - done.count))
            self.rows = cut.rows
            shards = cut.count
            rowsPerShard = cut.rowsPerShard
            shardsDone = done.count
            multiplyAdds = Double(open) * Double(model.multiplyAdds) * form.passes
            bytesUp = open * rows.rowCount * rows.dtype.byteCount + self.machines * modelBytes
            bytesDown = 4 * open * form.shape(model).reduce(1, *)
        }

        /// Seconds that this takes on slow machines, one core each, through a slow wire: what a careful estimate of cost
        /// goes by, for nobody knows beforehand which machines will come.
        public var carefulSeconds: Double {
            let shares = Double(max(1, machines))
            return 30 + multiplyAdds / (shares * 1e10) + Double(bytesUp + bytesDown) / (shares * 1e6)
        }
    }

    public struct Kept: Sendable, Equatable, Codable {
        public var shard: Int
        public var rows: Int
        public var provider: Provider
        public var seconds: Double
        /// Of the worker's own computing.
        public var rowsPerSecond: Double
        public var bytesUp: Int
        public var bytesDown: Int
        public var costGLM: Double?
    }

    /// How far it is.
    public struct Progress: Sendable, Equatable, Codable {
        public var rowsDone: Int
        public var rows: Int
        public var shardsDone: Int
        public var shards: Int
        /// Machines at work now.
        public var atWork: Int
        /// Rows a second since this start, all machines together.
        public var rowsPerSecond: Double
        /// Seconds until all is done, at this rate; nil while nothing is known.
        public var secondsLeft: Double?
        public var bytesUp: Int
        public var bytesDown: Int
        /// GLM of the answers so far, as far as it can be told apart.
        public var costGLM: Double?
    }
}

/// What a use of a model on other machines came to.
public struct InferenceResult: Sendable {
    /// Seconds of this start, renting and paying included.
    public var seconds: Double
    /// Seconds from when the first shard was taken until the last was kept.
    public var workSeconds: Double
    /// Rows that this start has done.
    public var rowsDone: Int
    /// Nil where work is free.
    public var expenses: Expenses?
    /// Nil where nothing was looked at.
    public var audits: AuditTotals?
    /// A line a provider, the most rows first.
    public var providers: [ProviderWork]

    public struct ProviderWork: Sendable, Equatable, Codable {
        public var provider: Provider
        public var shards: Int
        public var rows: Int
        /// Of its machines, transfers included, and of their computing alone.
        public var seconds: Double
        public var computingSeconds: Double
        public var failures: Int

        enum CodingKeys: String, CodingKey {
            case provider, shards, rows, seconds, failures
            case computingSeconds = "computing_seconds"
        }
    }
}

/// It was cancelled; what is done lies in the folder.
public struct InferenceInterrupted: Error, Sendable, CustomStringConvertible {
    public var shardsDone: Int
    public var shards: Int
    public var folder: String

    public var description: String { "stopped with \(shardsDone) of \(shards) shards done; the same command goes on" }
}
