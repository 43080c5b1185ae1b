#pragma once

namespace engine::bench {

// Of the source that was built, with "-dirty" if files differed from it; "unknown" outside a repository.
const char* commit();

}  // namespace engine::bench
