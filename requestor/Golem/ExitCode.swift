extension GolemError {
    /// How a program that fails with this error should end, by the convention of `sysexits.h`: 64 usage, 65 data that is
    /// not what it should be, 66 something named is not there, 69 a service or machine is not available, 74 input or
    /// output, 75 try again later, 77 not permitted, 78 the funds do not allow it, 1 else.
    public var exitCode: Int32 {
        switch code {
        case .usage, .refused: 64
        case .malformed, .corrupted: 65
        case .notFound, .gone: 66
        case .unreachable, .noMachine, .machineLost, .expired, .closed, .stopped, .peer, .unsupported: 69
        case .io: 74
        case .timedOut, .conflict: 75
        case .unauthorized: 77
        case .budget: 78
        default: 1
        }
    }
}
