import CKernels
import Tensors

/// The vector instructions that the kernels use. The choice changes the speed, never a bit of a result.
public enum InstructionSet: String, Sendable, Codable, CaseIterable {
    case portable, avx2, avx512, neon

    var isa: deml_isa {
        switch self {
        case .portable: DEML_PORTABLE
        case .avx2: DEML_AVX2
        case .avx512: DEML_AVX512
        case .neon: DEML_NEON
        }
    }

    /// By name. Throws `usage` for one that does not exist or that this machine lacks.
    public init(named name: String) throws(DeMLError) {
        guard let known = InstructionSet(rawValue: name), known.isAvailable else {
            let available = Self.allCases.filter(\.isAvailable).map(\.rawValue).joined(separator: ", ")
            throw DeMLError(
                .usage, "this machine has no instruction set \(name.quotedForMessage)", hint: "it has \(available)")
        }
        self = known
    }

    /// Whether this machine can run it.
    public var isAvailable: Bool { deml_isa_available(isa) }

    /// The fastest of this machine, or the one that the environment variable `DEML_ISA` names.
    public static var standard: InstructionSet {
        let isa = deml_isa_default()
        return allCases.first { $0.isa == isa } ?? .portable
    }
}

/// The threads and scratch memory of one network. Not to be used by two callers at a time.
final class KernelPool {
    let pointer: OpaquePointer
    let instructionSet: InstructionSet
    static let maximumThreads = 1024

    init(threads: Int, instructionSet: InstructionSet?) throws(DeMLError) {
        guard (1...Self.maximumThreads).contains(threads) else {
            throw DeMLError(.usage, "\(threads) threads are not between 1 and \(Self.maximumThreads)")
        }
        let chosen = instructionSet ?? .standard
        guard chosen.isAvailable else {
            throw DeMLError(.usage, "this machine has no \(chosen.rawValue) instructions")
        }
        guard let pointer = deml_pool_create(threads, chosen.isa) else {
            throw DeMLError(.internal, "\(threads) threads cannot be started", hint: "fewer threads need less memory")
        }
        self.pointer = pointer
        self.instructionSet = chosen
    }

    deinit {
        deml_pool_destroy(pointer)
    }
}

/// Version of the kernels' numeric contract (Sources/CKernels/README.md): two machines that agree in it give the same
/// bytes for the same work.
public let kernelsVersion = Int(deml_kernels_version())
