// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMemberRegistry} from "./IMemberRegistry.sol";
import {IQuorum} from "./IQuorum.sol";

/// @notice What a quorum of members says about one round. Members sign it as EIP-712 typed data.
/// @param round Number of the round; the first one is 0, and none is left out.
/// @param kind 0 statistics, 1 training, 2 closing.
/// @param outcome 1 settled, 2 abandoned.
/// @param previous EIP-712 struct hash of the result of `round - 1`; zero for round 0.
/// @param config `configDigest` of the roster that made this result.
/// @param dealers Bit i is set if the update of the member with roster index i is in the sum;
///   if abandoned, in a sum over the same model that somebody may have seen, so that later sets can be held against it.
/// @param model BLAKE3 digest of the model file after the round; of the unchanged model if abandoned.
/// @param deals Merkle root over (index, digest of the member's Deal) of the dealers; zero if abandoned.
/// @param scores keccak256 of the packed scores that became known in this round; zero if none did.
/// @param rewards Merkle root over (index, cumulative reward in wei) of all roster indices, after this round.
/// @param rewardsTotal Sum of these cumulative rewards, in wei.
struct RoundResult {
    uint64 round;
    uint8 kind;
    uint8 outcome;
    bytes32 previous;
    bytes32 config;
    uint256 dealers;
    bytes32 model;
    bytes32 deals;
    bytes32 scores;
    bytes32 rewards;
    uint128 rewardsTotal;
}

/// @notice How far a round is.
/// @param None Not recorded.
/// @param Open Recorded, and its dispute window is open.
/// @param Disputed It, or an earlier round whose rewards are part of its own, was challenged within the window, and the
///   time for a ruling is not over.
/// @param Void A quorum ruled within that time that its rewards are wrong, or those of an earlier round when this one
///   was recorded already; they never become active.
/// @param Final Its time is over; nothing about it changes any more.
/// @param Abandoned As Final, of a round in which nothing was learned.
enum RoundState {
    None,
    Open,
    Disputed,
    Void,
    Final,
    Abandoned
}

/// @title What every round produced, one slot a round, each result naming the one before
/// @notice Anyone may submit a result; only a quorum of a roster can make one. A recorded result never changes.
interface IRoundLedger is IQuorum {
    /* ERRORS */

    /// @notice There is no contract at the registry's address.
    error NoRegistry(address registry);

    /// @notice The registry names another ledger.
    error NotTheLedger(address named);

    /// @notice Results are recorded in order, without gaps, each once.
    error RoundOutOfSequence(uint64 expected, uint64 found);

    /// @notice The result does not follow the one recorded last, of whose struct hash these are the first 27 bytes.
    error PreviousMismatch(bytes27 expected, bytes32 found);

    /// @notice The result was made by a roster that never was, for another task, or for another chain.
    error UnknownConfig(bytes32 found);

    /// @notice A later roster than the one that made this result has recorded a round already.
    error RosterSuperseded(uint64 recording, uint64 found);

    /// @notice A kind of round that this version does not know.
    error UnknownKind(uint8 found);

    /// @notice An outcome that this version does not know.
    error UnknownOutcome(uint8 found);

    /// @notice A settled round has dealers, an abandoned one has no Deals.
    error DealersContradictOutcome(uint8 outcome, uint256 dealers, bytes32 deals);

    /// @notice Somebody in the bitmap of dealers is not on the roster.
    error DealersOutsideRoster(uint256 dealers, uint256 active);

    /// @notice The scores are not those that were signed.
    error ScoresMismatch(bytes32 expected, bytes32 found);

    /// @notice Scores are eight bytes for each roster index.
    error ScoresLengthMismatch(uint256 expected, uint256 found);

    /// @notice A quorum stopped the recording of rounds until then, in Unix seconds.
    error RoundsPaused(uint256 until);

    /// @notice A pause lasts at most `MAX_PAUSE_SECONDS`, until `latest` in Unix seconds.
    error PauseTooLong(uint256 latest, uint256 found);

    /// @notice Only the Disputes of this consortium may call this.
    error NotTheDisputes(address caller);

    /// @notice The round is not in a state in which this can be done.
    error RoundNotDisputable(uint64 round, RoundState state);

    /// @notice A round is challenged once; a ruling settled it already.
    error AlreadyRuled(uint64 round);

    /* EVENTS */

    /// @notice The time that members have, which never changes.
    event WindowsAdopted(uint64 disputeWindowSeconds, uint64 rulingSeconds);

    /// @notice The result of a round is recorded.
    /// @param round Number of the round.
    /// @param digest EIP-712 struct hash of `result`, whose first 27 bytes are stored, and which the next result names.
    /// @param result The result itself.
    /// @param scores Empty, or one big-endian int64 for each roster index: parts per million of validation loss.
    /// @param signers Bit i is set if the member with roster index i signed.
    /// @param signatures EIP-2098 signatures (r, vs) of the signers over the typed data, by ascending roster index.
    event RoundRecorded(
        uint64 indexed round, bytes32 digest, RoundResult result, bytes scores, uint256 signers, bytes signatures
    );

    /// @notice A round was challenged within its window.
    event RoundDisputed(uint64 indexed round);

    /// @notice A quorum ruled on a round: its rewards are void, and with them those of every later round recorded so
    /// far, since they contain them; or the challenge was unfounded.
    event RoundRuled(uint64 indexed round, bool isVoid);

    /// @notice A quorum stopped the recording and the activation of rounds; no claim and no withdrawal.
    /// @param number Counts the pauses.
    /// @param until When it ends by itself, in Unix seconds.
    event Paused(uint64 indexed number, uint64 until, bytes32 config, uint256 signers, bytes signatures);

    /* ACTIONS */

    /// @notice Records the result of the next round. Anyone may call it: the signatures decide. They are those of the
    /// roster that made the result, as long as no later roster has recorded a round.
    /// @param result What the signers signed.
    /// @param scores Empty if `result.scores` is zero, else the packed scores of which it is the keccak256.
    /// @param signers Bit i is set if the member with roster index i signed; at least a quorum of bits.
    /// @param signatures 64 bytes (EIP-2098: r, then s with the parity of v in its highest bit) for each signer, by
    /// ascending roster index.
    function submitRound(
        RoundResult calldata result,
        bytes calldata scores,
        uint256 signers,
        bytes calldata signatures
    ) external;

    /// @notice Stops recording and activation for a while, or ends that. Anyone may call it: the signatures decide.
    /// @param until What a quorum of the newest roster signed as `Pause`; a time in the past ends a pause.
    function pause(uint64 until, uint256 signers, bytes calldata signatures) external;

    /// @notice Marks a round whose window is open as challenged. For the Disputes only.
    function dispute(uint64 round) external;

    /// @notice Makes the rewards of a round void, and those of every later round recorded so far; or ends the challenge
    /// of it. For the Disputes only.
    /// @return below The first round, from `round` on, that the ruling says nothing about.
    function rule(uint64 round, bool isVoid) external returns (uint64 below);

    /* VIEWS */

    /// @notice Version of this contract's source.
    function VERSION() external view returns (string memory);

    /// @notice The longest time that a pause lasts unless it is renewed.
    function MAX_PAUSE_SECONDS() external view returns (uint64);

    /// @notice The registry whose rosters may record results.
    function registry() external view returns (IMemberRegistry);

    /// @notice The contract that decides about challenges.
    function disputes() external view returns (address);

    /// @notice Time after the record of a round in which it can be challenged.
    function disputeWindowSeconds() external view returns (uint64);

    /// @notice Time after that window in which a quorum can rule on a challenged round.
    function rulingSeconds() external view returns (uint64);

    /// @notice When the last pause ends, in Unix seconds.
    function pausedUntil() external view returns (uint32);

    /// @notice How many pauses a quorum ordered; part of what it signs for the next one.
    function pauses() external view returns (uint64);

    /// @notice Version of the roster that recorded the last round; results of earlier ones are refused. Before the first
    /// round it is 1, or 0 if the roster had changed when this contract was deployed.
    function recordingVersion() external view returns (uint64);

    /// @notice Number of the round that is recorded next, which is the number of rounds recorded.
    /// @dev Searches; meant for reading from outside.
    function nextRound() external view returns (uint64);

    /// @notice The first 27 bytes of the EIP-712 struct hash of the result of `round`; zero while it is not recorded.
    function resultDigest(uint64 round) external view returns (bytes27);

    /// @notice Time of the block that recorded `round`, in Unix seconds; zero while it is not recorded.
    function recordedAt(uint64 round) external view returns (uint64);

    /// @notice When the time for challenging `round` is over, and that for ruling on a challenge, if one waits, of it or
    /// of an earlier round; zero if it is not recorded.
    function finalAt(uint64 round) external view returns (uint256);

    /// @notice How far `round` is.
    function stateOf(uint64 round) external view returns (RoundState);

    /// @notice EIP-712 struct hash of `result`.
    function hashResult(RoundResult calldata result) external pure returns (bytes32);

    /// @notice EIP-712 domain separator under which members sign: "Mycelia", "1", this chain, this contract.
    function domainSeparator() external view returns (bytes32);
}
