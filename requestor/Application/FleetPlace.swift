import Datasets
import Federation
import Fleets
import Foundation
import GolemFleet
import Inference
import NeuralNetwork
import Tensors

/// Machines that a finished model is used on, instead of this process.
public struct FleetPlace: Sendable {
    public var fleet: MachineSettings.FleetName
    /// Machines at work at once; nil: three rented ones, or as many processes as this computer has processors.
    public var machines: Int?
    /// Threads of each; nil: all that a rented machine has, or a fair share of this one.
    public var threads: Int?
    /// The program `deml-worker`, for the local fleet; else it is looked for beside the program and in PATH.
    public var worker: String?
    /// Settings of Golem, by their keys under `golem:` of a YAML file.
    public var golem: [String: String]
    /// Which part of every answer is computed again here, drawn when it has come; nil: `auto` on golem, else `off`.
    public var audit: AuditPolicy?
    /// Where what is done is kept until all is; nil: beside the output, or under `runs/`.
    public var folder: String?
    /// Rows of a shard; nil: as suits the work, the bytes and the machines.
    public var rowsPerShard: Int?
    /// How often a shard is given to another machine after a failure.
    public var retries: Int?
    /// Seconds after which an attempt is late.
    public var timeout: Double?

    public init(
        _ fleet: MachineSettings.FleetName, machines: Int? = nil, threads: Int? = nil, worker: String? = nil,
        golem: [String: String] = [:], audit: AuditPolicy? = nil, folder: String? = nil
    ) {
        self.fleet = fleet
        self.machines = machines
        self.threads = threads
        self.worker = worker
        self.golem = golem
        self.audit = audit
        self.folder = folder
    }

    /// Machines at work at once.
    var machineCount: Int { machines ?? (fleet == .golem ? 3 : ProcessInfo.processInfo.activeProcessorCount) }

    func settings() throws(DeMLError) -> Inference.Settings {
        guard (1...10_000).contains(machineCount) else {
            throw DeMLError(.usage, "--machines is to be from 1 to 10000, not \(machineCount)")
        }
        if let threads { _ = try Threads.checked(threads) }
        if let rowsPerShard, rowsPerShard < 1 {
            throw DeMLError(.usage, "--shard-rows is to be 1 or more, not \(rowsPerShard)")
        }
        if let retries, !(0...1000).contains(retries) {
            throw DeMLError(.usage, "--retries is to be from 0 to 1000, not \(retries)")
        }
        if let timeout, !(timeout > 0 && timeout <= 1e9) {
            throw DeMLError(.usage, "--timeout is to be above 0 s, not \(timeout)")
        }
        var settings = Inference.Settings(
            machines: machineCount, audit: audit ?? (fleet == .golem ? .auto : .off), threads: threads)
        settings.retries = retries ?? settings.retries
        settings.timeout = timeout ?? settings.timeout
        return settings
    }
}

extension Application {
    /// The fleet of a place. Everything that is wrong with its settings is found before anything is spent.
    func fleet(_ place: FleetPlace) throws -> any Fleet {
        _ = try place.settings()
        switch place.fleet {
        case .local:
            return try LocalFleet(
                worker: try workerProgram(place.worker), parallel: place.machineCount, threads: place.threads)
        case .simulated: return SimulatedFleet(threads: place.machineCount)
        case .golem: return try GolemFleet(settings: try golemSettings(place.golem), environment: environment)
        }
    }

    /// What is told of a use of a model, with what it is likely to cost as soon as it is known what there is to do.
    func tellingCost(
        _ place: FleetPlace, _ progress: @escaping @Sendable (InferenceEvent) -> Void
    ) throws -> @Sendable (InferenceEvent) -> Void {
        guard place.fleet == .golem else { return progress }
        let settings = try golemSettings(place.golem)
        return { event in
            progress(event)
            guard case .planned(let plan) = event, plan.shardsDone < plan.shards else { return }
            let cost = settings.worstCase(machines: plan.machines, hours: plan.carefulSeconds / 3600)
            let text = String(format: "%.4f", cost)
            progress(
                .notice(
                    FleetNotice(
                        .info,
                        "likely below \(text) GLM: slow machines at the highest price allowed would take "
                            + "\(Int(plan.carefulSeconds.rounded(.up))) s", details: ["kind": "estimate", "glm": text]))
            )
        }
    }

    /// A use of a model on a fleet, made or gone on with.
    /// - Parameter name: of the folder under `runs/` where no other is said: what is asked makes it, so that the same
    ///   question finds it again.
    func inference(
        _ model: ModelArgument, rows: Tensor, form: WorkerJobForm, place: FleetPlace, folder: String?, name: String,
        names: (model: String, data: String, part: String)
    ) throws -> Inference {
        let settings = try place.settings()
        // A worker reads weights files. A model out of a file of another tool becomes one.
        let made = model.isForeign ? try Weights(of: model.weights).safetensors(round: 0).encoded() : nil
        var file = StoredFile(
            path: model.path, sha256: try made.map { sha256Hex($0) } ?? Files.sha256(of: model.path),
            byteCount: made?.count ?? Files.size(of: model.path) ?? 0)
        let path: String
        if let folder = place.folder.map({ paths.resolved($0) }) ?? folder {
            path = folder
        } else {
            let text = if case .text = form { InferenceQuestion.text(of: form) } else { "" }
            let digest = sha256Hex(Array((file.sha256 + InferenceQuestion.digest(of: rows) + text).utf8)).prefix(12)
            path = paths.resolved("runs/\(name)-\(digest)")
        }
        if made != nil { file.path = Inference.modelPath(in: path) }
        do throws(DeMLError) {
            let inference = try Inference(
                model: Inference.Model(file: file, weights: model.weights), rows: rows, form: form, settings: settings,
                folder: path, names: names, rowsPerShard: place.rowsPerShard)
            // Now that the folder is known to be of this question, and nobody else's.
            if let made { try Files.writeAtomically(made, to: file.path) }
            return inference
        } catch {
            throw error.place == path ? error.at(paths.shown(path)) : error
        }
    }
}
