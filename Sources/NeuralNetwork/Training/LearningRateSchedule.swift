import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How the learning rate goes with the steps: the schedules of torch.optim.lr_scheduler, in closed form.
///
/// With a warm-up the rate rises in a line from `startFactor`·base to the base within the first `warmupSteps` steps
/// (LinearLR); the shape begins behind it (SequentialLR). A schedule counts optimiser steps within a job, and goes on
/// over jobs where `firstStep` says how many were done before; a round's rate is `rate(base, at: round)` of a schedule
/// whose steps are rounds. Same numbers on every machine: nothing of the C library is used.
public struct LearningRateSchedule: Sendable, Equatable {
    public enum Shape: Sendable, Equatable {
        case constant
        /// base·gammaⁿ after n·size steps (StepLR).
        case step(size: Int, gamma: Double = 0.1)
        /// minimum + (base - minimum)·(1 + cos(π·t/steps))/2, and the minimum from step `steps` on (CosineAnnealingLR;
        /// Loshchilov and Hutter, "SGDR", 2017, arXiv 1608.03983, without restarts).
        case cosine(steps: Int, minimum: Double = 0)
    }

    public var shape: Shape
    /// Steps of the linear warm-up; 0 for none.
    public var warmupSteps: Int
    /// What the base is multiplied by at the first step of the warm-up.
    public var startFactor: Double
    /// The number, from 0, that the schedule gives to the first step of a job.
    public var firstStep: Int

    /// Always the base.
    public static let constant = LearningRateSchedule(.constant)

    private static let standardStartFactor = 1.0 / 3

    public init(_ shape: Shape, warmupSteps: Int = 0, startFactor: Double = 1.0 / 3, firstStep: Int = 0) {
        self.shape = shape
        self.warmupSteps = warmupSteps
        self.startFactor = startFactor
        self.firstStep = firstStep
    }

    /// The rate of step `step`, counted from 0 within the job; for a `base` of at least 0.
    public func rate(_ base: Double, at step: Int) -> Double {
        // Far beyond any training, but a job may say any number.
        let (position, isBeyond) = firstStep.addingReportingOverflow(step)
        let t = isBeyond ? Int.max : position
        if t < warmupSteps {
            return base * (startFactor + (1 - startFactor) * (Double(t) / Double(warmupSteps)))
        }
        let behind = t - warmupSteps
        switch shape {
        case .constant:
            return base
        case .step(let size, let gamma):
            return base * Self.power(gamma, behind / size)
        case .cosine(let steps, let minimum):
            guard behind < steps else { return minimum }
            return minimum + (base - minimum) * ((1 + PortableMath.cosine(pi: Double(behind) / Double(steps))) / 2)
        }
    }

    /// By squaring: the C library's pow is not the same everywhere.
    private static func power(_ base: Double, _ exponent: Int) -> Double {
        var result = 1.0
        var factor = base
        var rest = exponent
        while rest > 0 {
            if rest & 1 == 1 { result *= factor }
            factor *= factor
            rest >>= 1
        }
        return result
    }

    /// Throws `outOfRange` where a number makes no sense, `usage` where the cosine's minimum is above `base`.
    public func validate(base: Double) throws(DeMLError) {
        func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(DeMLError) {
            guard range.contains(value) else {
                throw DeMLError(
                    .outOfRange, "\(name) \(value) is not between \(range.lowerBound) and \(range.upperBound)",
                    place: "schedule")
            }
        }
        let many = 1_000_000_000_000
        try check("warmup_steps", warmupSteps, 0...many)
        try check("first_step", firstStep, 0...many)
        guard startFactor >= 0, startFactor <= 1 else {
            throw DeMLError(.outOfRange, "start_factor \(startFactor) is not between 0 and 1", place: "schedule")
        }
        guard warmupSteps > 0 || startFactor == Self.standardStartFactor else {
            throw DeMLError(.usage, "start_factor needs warmup_steps above 0", place: "schedule")
        }
        switch shape {
        case .constant: break
        case .step(let size, let gamma):
            try check("step_size", size, 1...many)
            guard gamma > 0, gamma <= 1 else {
                throw DeMLError(.outOfRange, "gamma \(gamma) is not above 0 and at most 1", place: "schedule")
            }
        case .cosine(let steps, let minimum):
            try check("t_max", steps, 1...many)
            guard minimum >= 0, minimum <= base else {
                throw DeMLError(
                    .outOfRange, "eta_min \(minimum) is not between 0 and the learning rate \(base)", place: "schedule")
            }
        }
    }
}

extension LearningRateSchedule: Codable {
    private static let keys: [String: [String]] = [
        "constant": [], "step": ["step_size", "gamma"], "cosine": ["t_max", "eta_min"],
    ]
    private static let common = ["type", "warmup_steps", "start_factor", "first_step"]

    public init(from decoder: any Decoder) throws {
        let subject = "the schedule"
        let type = try StrictContainer(decoder, subject, keys: nil).required("type", String.self)
        guard let own = Self.keys[type] else {
            throw DeMLError(
                .usage, "the schedule \(type.quotedForMessage) is unknown", place: place(of: decoder.codingPath),
                hint: "known: \(Self.keys.keys.sorted().joined(separator: ", "))")
        }
        let keys = try StrictContainer(decoder, "the schedule \(type)", keys: own + Self.common)
        let shape: Shape =
            switch type {
            case "step":
                .step(
                    size: try keys.required("step_size", Int.self),
                    gamma: try keys.optional("gamma", Double.self) ?? 0.1)
            case "cosine":
                .cosine(
                    steps: try keys.required("t_max", Int.self), minimum: try keys.optional("eta_min", Double.self) ?? 0
                )
            default: .constant
            }
        self.init(
            shape, warmupSteps: try keys.optional("warmup_steps", Int.self) ?? 0,
            startFactor: try keys.optional("start_factor", Double.self) ?? Self.standardStartFactor,
            firstStep: try keys.optional("first_step", Int.self) ?? 0)
    }

    /// Reads the JSON text of a schedule.
    public init(json: String) throws(DeMLError) {
        do {
            self = try JSONDecoder().decode(LearningRateSchedule.self, from: Data(json.utf8))
        } catch {
            throw DeMLError(decoding: error, of: "the schedule")
        }
    }

    /// Every option is written, so that the text says what was done without knowing the defaults.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        switch shape {
        case .constant:
            try container.encode("constant", forKey: TextKey("type"))
        case .step(let size, let gamma):
            try container.encode("step", forKey: TextKey("type"))
            try container.encode(size, forKey: TextKey("step_size"))
            try container.encode(gamma, forKey: TextKey("gamma"))
        case .cosine(let steps, let minimum):
            try container.encode("cosine", forKey: TextKey("type"))
            try container.encode(steps, forKey: TextKey("t_max"))
            try container.encode(minimum, forKey: TextKey("eta_min"))
        }
        try container.encode(warmupSteps, forKey: TextKey("warmup_steps"))
        try container.encode(startFactor, forKey: TextKey("start_factor"))
        try container.encode(firstStep, forKey: TextKey("first_step"))
    }
}
