import Fleets
import Tensors
import Worker

extension LocalFleet {
    /// The fleet for a run: as many processes as clients train at once, but no more than is good for this machine.
    public init(worker: String, configuration: RunConfiguration) throws(DeMLError) {
        try self.init(
            worker: worker,
            parallel: configuration.machines.parallel
                ?? min(configuration.clientsPerRound, max(4, availableProcessors())),
            threads: configuration.machines.threads)
    }
}
